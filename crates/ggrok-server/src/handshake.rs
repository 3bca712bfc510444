//! The handshake of a client's WebSocket (RFC 6455, section 4.2).

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use ggrok_protocol::Dialect;
use ggrok_websocket::WebSocket;
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

/// A handshake that is as it should be, and its answer.
pub(crate) struct Handshake {
    pub(crate) answer: Response,
    pub(crate) opening: Opening,
}

/// The WebSocket to be, once the answer is out.
pub(crate) struct Opening(OnUpgrade);

impl Handshake {
    /// Reads a request; nothing where it is no handshake, or on a connection that cannot become a
    /// WebSocket.
    pub(crate) fn of(request: &mut Request) -> Option<Self> {
        let answer = create_response_with_body(request, Body::empty).ok()?;
        let opening = Opening(request.extensions_mut().remove()?);
        Some(Self { answer, opening })
    }

    /// Chooses the best dialect of those offered; where that is none, it is the `original`.
    pub(crate) fn choose(&mut self, head: &Parts, original: Dialect) -> Dialect {
        let offered = head.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let offered = offered.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let offered: Vec<_> = offered.map(<[u8]>::trim_ascii).collect();
        let known = Dialect::ALL.iter().filter_map(|known| known.subprotocol());
        let chosen = known
            .filter(|name| offered.contains(&name.as_bytes()))
            .map(HeaderValue::from_static)
            .next();
        let dialect = Dialect::chosen(chosen.as_ref(), original);
        if let Some(chosen) = chosen {
            let fields = self.answer.headers_mut();
            fields.insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        dialect
    }
}

impl Opening {
    /// Waits until the answer is out. Fails where the client did not wait for it. Messages will have
    /// `longest` bytes at most.
    pub(crate) async fn wait(
        self,
        longest: usize,
    ) -> Result<WebSocket<TokioIo<Upgraded>>, hyper::Error> {
        let stream = TokioIo::new(self.0.await?);
        Ok(WebSocket::of_relay(stream, longest).await)
    }
}
