//! A local connection that becomes another protocol's, a WebSocket's above all.

use ggrok_protocol::{Responded, Responder, TunnelBody, socket_body};
use http::Response;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use crate::local::Connection;

/// A local server that has switched protocols.
pub(crate) struct Switched {
    /// Its 101.
    pub(crate) response: Response<()>,
    /// The connection, from the first byte behind that.
    pub(crate) connection: Upgraded,
    /// What drives the other end's last step to the new protocol, where that end is a service in
    /// this program.
    pub(crate) keeper: Connection,
    /// What the visitor sends.
    pub(crate) visitor: TunnelBody,
}

/// Passes the 101 on, and copies both ways until one side ends.
pub(crate) async fn splice(switched: Switched, responder: Responder) -> Responded {
    let _keeper = switched.keeper;
    let (feed, body) = socket_body();
    let response = switched.response.map(|()| body);
    let connection = TokioIo::new(switched.connection);
    let copying = ggrok_protocol::splice(connection, feed, switched.visitor);
    let (responded, ()) = tokio::join!(responder.respond(response), copying);
    responded
}
