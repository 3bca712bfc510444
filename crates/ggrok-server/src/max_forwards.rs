//! Max-Forwards: how many hops an OPTIONS request may still take (RFC 9110, section 7.6.2).

use axum::body::Body;
use axum::response::Response;
use ggrok_protocol::ERROR_HEADER;
use http::header::{ALLOW, MAX_FORWARDS};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::error::RelayError;

/// Counts the hop that a request is about to take. Where none is left, the relay is who is asked.
pub(crate) fn count<B>(request: &mut Request<B>) -> Result<(), RelayError> {
    if request.method() != Method::OPTIONS {
        return Ok(());
    }
    let Some(left) = left(request.headers()) else {
        return Ok(());
    };
    let left = left.checked_sub(1).ok_or(RelayError::LastHop)?;
    request.headers_mut().insert(MAX_FORWARDS, left.into());
    Ok(())
}

/// Nothing where the field says nothing.
fn left(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(MAX_FORWARDS)?.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

/// What can be asked through the relay: any method but CONNECT and TRACE, of which these are known.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The relay's answer to an OPTIONS that is for the relay itself.
pub(crate) fn options() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static(METHODS);
    response.headers_mut().insert(ALLOW, methods);
    // As in every answer that is not the app's.
    let code = HeaderValue::from_static(CODE);
    response.headers_mut().insert(ERROR_HEADER, code);
    response
}

/// By which the answer is known.
pub(crate) const CODE: &str = "max-forwards";

#[cfg(test)]
mod tests {
    use super::count;
    use http::Request;
    use http::header::MAX_FORWARDS;

    /// The answer's status, or what is left behind the hop.
    fn counted(method: &str, given: &str) -> Result<String, u16> {
        let request = Request::builder().method(method);
        let request = request.header(MAX_FORWARDS, given).body(());
        let mut request = request.unwrap();
        match count(&mut request) {
            Err(error) => Err(error.response(None).status().as_u16()),
            Ok(()) => Ok(request.headers()[MAX_FORWARDS].to_str().unwrap().to_owned()),
        }
    }

    #[test]
    fn counts_down_and_answers_at_zero() {
        assert_eq!(counted("OPTIONS", "2"), Ok("1".into()));
        assert_eq!(counted("OPTIONS", "1"), Ok("0".into()));
        assert_eq!(counted("OPTIONS", "0"), Err(204));
        assert_eq!(counted("OPTIONS", "000"), Err(204));
        let most = u32::MAX - 1;
        let beyond = "99999999999999999999999";
        assert_eq!(counted("OPTIONS", beyond), Ok(most.to_string()));
    }

    #[test]
    fn leaves_alone_what_is_no_number_or_no_options() {
        for given in ["", "-1", "+1", "1, 2", "x"] {
            assert_eq!(counted("OPTIONS", given), Ok(given.into()));
        }
        assert_eq!(counted("GET", "0"), Ok("0".into()));
    }
}
