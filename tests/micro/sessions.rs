//! Calls from one end of a `ggrok.v2` tunnel to the other, over a WebSocket in memory.

use bytes::Bytes;
use futures_util::future::join_all;
use ggrok_protocol::bench::Operation;
use ggrok_protocol::{Arrival, Dialect, Limits, Tunnel, accept, open};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};

use self::memory::ends;

#[path = "../../crates/ggrok-protocol/tests/pair/memory.rs"]
#[allow(unreachable_pub, reason = "it is public to the tests that share it")]
mod memory;

/// Small calls one after the other and many at a time, and a large body to the relay.
pub(crate) fn operations(request: &Request<Bytes>, response: &Response<Bytes>) -> Vec<Operation> {
    let large = response.clone().map(|_| Bytes::from(vec![b' '; LARGE]));
    vec![
        calls("1 call", 1, request, response),
        calls("64 calls at a time", 64, request, response),
        calls("16 MiB to the relay", 1, request, &large),
    ]
}

fn calls(
    name: &str,
    count: u16,
    request: &Request<Bytes>,
    response: &Response<Bytes>,
) -> Operation {
    let pair = Pair::new(response);
    let request = request.clone().map(Full::new);
    Operation::new(name, move || pair.calls(count, &request)).times(count.into())
}

/// Bytes of a large body.
const LARGE: usize = 16 << 20;

/// Both ends of a tunnel. All their tasks end with the runtime.
struct Pair {
    runtime: Runtime,
    tunnel: Tunnel,
    /// Bytes of each response's body.
    length: usize,
}

impl Pair {
    /// Makes a tunnel whose client answers every call so.
    fn new(response: &Response<Bytes>) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("it needs nothing of the system");
        let (near, far) = ends();
        let (tunnel, relay) = open(Dialect::V2, Limits::default());
        let (mut incoming, client) = accept(Dialect::V2, Limits::default());
        runtime.spawn(relay.run(near));
        runtime.spawn(client.run(far));
        let length = response.body().len();
        let response = response.clone().map(Full::new);
        runtime.spawn(async move {
            while let Some(Arrival::Call(call)) = incoming.next().await {
                tokio::spawn(call.responder.respond(response.clone()));
            }
        });
        Self {
            runtime,
            tunnel,
            length,
        }
    }

    /// Makes so many calls at a time, and reads their responses to the end.
    fn calls(&self, count: u16, request: &Request<Full<Bytes>>) {
        let calls = (0..count).map(|_| self.call(request.clone()));
        self.runtime.block_on(join_all(calls));
    }

    async fn call(&self, request: Request<Full<Bytes>>) {
        let response = self.tunnel.call(request).await;
        let mut body = response.expect("the client answers").into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.expect("it is whole").into_data();
            length += data.expect("there are no trailers").len();
        }
        assert_eq!(length, self.length);
    }
}
