//! A gRPC service with calls of all four kinds, and a client of it, as a compiler of protobuf writes
//! them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, IntoRequest, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::PATIENCE;

/// The one message of the service.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Said {
    #[prost(bytes = "bytes", tag = "1")]
    pub bytes: Bytes,
    #[prost(uint32, tag = "2")]
    pub number: u32,
}

impl Said {
    pub fn new(bytes: impl Into<Bytes>, number: u32) -> Self {
        let bytes = bytes.into();
        Self { bytes, number }
    }
}

/// The service.
#[derive(Clone)]
pub struct Echo {
    told: mpsc::Sender<Told>,
}

/// What the service tells of its calls that may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Began,
    Ended,
}

/// A call that may last. It ends when this is dropped.
struct Lasting(mpsc::Sender<Told>);

impl Lasting {
    fn new(told: mpsc::Sender<Told>) -> Self {
        told.try_send(Told::Began).unwrap();
        Self(told)
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        // The scenario may be over.
        self.0.try_send(Told::Ended).ok();
    }
}

impl Echo {
    /// Makes a service.
    pub fn new() -> (Self, mpsc::Receiver<Told>) {
        let (sender, told) = mpsc::channel(1000);
        (Self { told: sender }, told)
    }

    /// The service as a server takes it.
    pub fn routes(self) -> Routes {
        Routes::new(self)
    }

    /// Gives a message back, with the metadata of its request. One that is empty fails.
    async fn unary(self, request: Request<Said>) -> Result<Response<Said>, Status> {
        let (metadata, _, said) = request.into_parts();
        if said == Said::default() {
            return Err(failure());
        }
        let mut response = Response::new(said);
        for key in ["x-text", "grpc-timeout"] {
            if let Some(value) = metadata.get(key) {
                response.metadata_mut().insert(key, value.clone());
            }
        }
        if let Some(value) = metadata.get_bin("x-bytes-bin") {
            response
                .metadata_mut()
                .insert_bin("x-bytes-bin", value.clone());
        }
        Ok(response)
    }

    /// Gives as many messages back as the request says, and then fails where its bytes are empty.
    async fn server_streaming(self, request: Request<Said>) -> Result<Response<Many>, Status> {
        let said = request.into_inner();
        let fails = said.bytes.is_empty();
        let lasting = (said.number == u32::MAX).then(|| Lasting::new(self.told));
        let many = stream::iter(0..said.number).map(move |number| {
            let _ = &lasting;
            Ok(Said::new(said.bytes.clone(), number))
        });
        let end = stream::iter(fails.then(|| Err(failure())));
        Ok(Response::new(many.chain(end).boxed()))
    }

    /// Counts messages and bytes.
    async fn client_streaming(
        self,
        request: Request<Streaming<Said>>,
    ) -> Result<Response<Said>, Status> {
        let mut many = request.into_inner();
        let (mut messages, mut bytes) = (0, 0);
        while let Some(said) = many.try_next().await? {
            messages += 1;
            bytes += said.bytes.len();
        }
        Ok(Response::new(Said::new(bytes.to_string(), messages)))
    }

    /// Gives each message back as it comes.
    async fn bidirectional(
        self,
        request: Request<Streaming<Said>>,
    ) -> Result<Response<Many>, Status> {
        let lasting = Lasting::new(self.told);
        let many = request.into_inner().inspect(move |_| {
            let _ = &lasting;
        });
        Ok(Response::new(many.boxed()))
    }

    /// Never answers.
    async fn wait(self, _: Request<Said>) -> Result<Response<Said>, Status> {
        let _lasting = Lasting::new(self.told);
        sleep(PATIENCE * 10).await;
        Err(Status::unknown("nobody gave it up"))
    }
}

type Many = BoxStream<'static, Result<Said, Status>>;

/// A status with all that one can have.
fn failure() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-why", MetadataValue::from_static("because"));
    metadata.insert_bin("x-why-bin", MetadataValue::from_bytes(b"\0\xff"));
    let details = Bytes::from_static(b"\x01details");
    Status::with_details_and_metadata(Code::FailedPrecondition, "no: ü%\n", details, metadata)
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

/// One method of the service.
struct Method<F>(F);

impl<F, M, R, T> Service<Request<M>> for Method<F>
where
    F: Fn(Request<M>) -> R,
    R: Future<Output = Result<Response<T>, Status>> + Send + 'static,
{
    type Response = Response<T>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<M>) -> Self::Future {
        Box::pin((self.0)(request))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<Said, Said>::default();
            let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(LARGEST);
            let method = request.uri().path().rsplit('/').next().unwrap();
            Ok(match method {
                "Unary" => grpc.unary(Method(|r| echo.clone().unary(r)), request).await,
                "Wait" => grpc.unary(Method(|r| echo.clone().wait(r)), request).await,
                "ServerStreaming" => {
                    let method = Method(|r| echo.clone().server_streaming(r));
                    grpc.server_streaming(method, request).await
                }
                "ClientStreaming" => {
                    let method = Method(|r| echo.clone().client_streaming(r));
                    grpc.client_streaming(method, request).await
                }
                "Bidirectional" => {
                    let method = Method(|r| echo.clone().bidirectional(r));
                    grpc.streaming(method, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// A server of the service. It takes no new connections when it is dropped.
pub struct GrpcServer {
    pub address: SocketAddr,
    pub told: mpsc::Receiver<Told>,
    task: AbortHandle,
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl GrpcServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (echo, told) = Echo::new();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = Server::builder().add_service(echo);
        let serving = tokio::spawn(serving.serve_with_incoming(incoming));
        Self {
            address,
            told,
            task: serving.abort_handle(),
        }
    }
}

/// Waits for what the service tells next.
pub async fn told(told: &mut mpsc::Receiver<Told>) -> Told {
    let told = timeout(PATIENCE, told.recv()).await;
    told.expect("the service told nothing").unwrap()
}

/// A client of the service, over one connection.
#[derive(Clone)]
pub struct EchoClient(tonic::client::Grpc<Channel>);

impl EchoClient {
    pub async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self(tonic::client::Grpc::new(channel).max_decoding_message_size(LARGEST))
    }

    pub async fn unary(&mut self, said: impl IntoRequest<Said>) -> Result<Response<Said>, Status> {
        self.one("/test.Echo/Unary", said.into_request()).await
    }

    pub async fn wait(&mut self, said: impl IntoRequest<Said>) -> Result<Response<Said>, Status> {
        self.one("/test.Echo/Wait", said.into_request()).await
    }

    pub async fn missing(&mut self) -> Result<Response<Said>, Status> {
        self.one("/test.Echo/Missing", Request::new(Said::default()))
            .await
    }

    async fn one(
        &mut self,
        method: &'static str,
        said: Request<Said>,
    ) -> Result<Response<Said>, Status> {
        self.0.ready().await.unwrap();
        let method = http::uri::PathAndQuery::from_static(method);
        self.0.unary(said, method, ProstCodec::default()).await
    }

    pub async fn server_streaming(
        &mut self,
        said: Said,
    ) -> Result<Response<Streaming<Said>>, Status> {
        self.0.ready().await.unwrap();
        let method = http::uri::PathAndQuery::from_static("/test.Echo/ServerStreaming");
        let said = Request::new(said);
        self.0
            .server_streaming(said, method, ProstCodec::default())
            .await
    }

    pub async fn client_streaming(
        &mut self,
        many: impl Stream<Item = Said> + Send + 'static,
    ) -> Result<Response<Said>, Status> {
        self.0.ready().await.unwrap();
        let method = http::uri::PathAndQuery::from_static("/test.Echo/ClientStreaming");
        let many = Request::new(many);
        self.0
            .client_streaming(many, method, ProstCodec::default())
            .await
    }

    pub async fn bidirectional(
        &mut self,
        many: impl Stream<Item = Said> + Send + 'static,
    ) -> Result<Response<Streaming<Said>>, Status> {
        self.0.ready().await.unwrap();
        let method = http::uri::PathAndQuery::from_static("/test.Echo/Bidirectional");
        let many = Request::new(many);
        self.0.streaming(many, method, ProstCodec::default()).await
    }
}

/// A request with a deadline.
pub fn within(said: Said, time: Duration) -> Request<Said> {
    let mut request = Request::new(said);
    request.set_timeout(time);
    request
}

/// The next message of a stream.
pub async fn said(many: &mut Streaming<Said>) -> Result<Option<Said>, Status> {
    let said = timeout(PATIENCE, many.message()).await;
    said.expect("no message in time")
}

/// Bytes of a message, more than the four MiB that a library takes by itself.
const LARGEST: usize = 8 << 20;
