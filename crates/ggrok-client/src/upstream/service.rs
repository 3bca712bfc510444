//! A service inside this program, without its type: something that serves connections.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{DuplexStream, duplex};
use tower_service::Service;

/// A service inside this program, such as an axum `Router`. It is called as behind any HTTP/1.1
/// server, but over connections in memory; upgrades work.
#[derive(Clone)]
pub struct LocalService(Arc<dyn Fn(DuplexStream) -> Serving + Send + Sync>);

/// A connection's far end. It ends when the near end is dropped, or by being dropped.
pub(crate) type Serving = BoxFuture<'static, ()>;

impl LocalService {
    /// Takes a service over. It is cloned for each request.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        // Cloned behind a lock, since services need not be `Sync`.
        let service = Mutex::new(service);
        Self(Arc::new(move |stream| {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner);
            let service = TowerToHyperService::new(service.clone());
            let serving = http1::Builder::new()
                .max_headers(MAX_FIELDS)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            Box::pin(async {
                // The near end hears of what went wrong.
                serving.await.ok();
            })
        }))
    }

    /// Opens a connection: its near end, and what serves it.
    pub(crate) fn connect(&self) -> (DuplexStream, Serving) {
        let (near, far) = duplex(BUFFER);
        (near, (self.0)(far))
    }
}

impl fmt::Debug for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalService")
    }
}

/// Bytes that may be on their way, in each direction: as much as a frame of data holds.
const BUFFER: usize = 64 << 10;

/// Fields that a request may have: all that a tunnel carries. The library's own limit is 100.
const MAX_FIELDS: usize = 1000;
