//! A service inside this program, without its type: something that serves connections.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{DuplexStream, duplex};
use tower_service::Service;

use crate::tasks::Tasks;

/// A service inside this program, such as an axum `Router`. It is called as behind any HTTP/1.1
/// server, but over connections in memory; upgrades work. Where the client speaks HTTP/2 to it, it is
/// called as behind a server of that.
#[derive(Clone)]
pub struct LocalService(Arc<dyn Fn(DuplexStream, Version) -> Serving + Send + Sync>);

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
        Self(Arc::new(move |stream, version| {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner);
            let service = TowerToHyperService::new(service.clone());
            let stream = TokioIo::new(stream);
            // The near end hears of what went wrong.
            if version == Version::HTTP_2 {
                let (tasks, over) = Tasks::new();
                let serving = http2::Builder::new(tasks)
                    .max_header_list_size(HEAD)
                    .serve_connection(stream, service);
                return Box::pin(async {
                    let _over = over;
                    serving.await.ok();
                });
            }
            let serving = http1::Builder::new()
                .max_headers(MAX_FIELDS)
                .serve_connection(stream, service)
                .with_upgrades();
            Box::pin(async {
                serving.await.ok();
            })
        }))
    }

    /// Opens a connection: its near end, and what serves it.
    pub(crate) fn connect(&self, version: Version) -> (DuplexStream, Serving) {
        let (near, far) = duplex(BUFFER);
        (near, (self.0)(far, version))
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

/// Bytes of a request's fields in HTTP/2: all that a frame of a tunnel holds.
const HEAD: u32 = 1 << 20;
