//! Which requests of a relay a client replays to its local server.

use http::{Method, Request};

use crate::DecodeError;

/// Refuses CONNECT and TRACE, and `*` of any method but OPTIONS (RFC 9112, section 3.2.4). A relay lets
/// none of these through, so a request of this kind was made by the relay itself.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), DecodeError> {
    let method = request.method();
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(DecodeError::Method(method.clone()));
    }
    if request.uri().path() == "*" && method != Method::OPTIONS {
        return Err(DecodeError::Target);
    }
    Ok(())
}
