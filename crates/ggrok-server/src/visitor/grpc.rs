//! Answers of ggrok's own, in the form that clients of gRPC read.

use axum::body::Body;
use ggrok_protocol::ERROR_HEADER;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// Whether a request is a call of gRPC, and not of its kin for browsers.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let parts = content_type.and_then(|value| value.split_at_checked(GRPC.len()));
    parts.is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
    })
}

const GRPC: &[u8] = b"application/grpc";

/// Turns an answer of ggrok's own into a response of trailers alone. Some clients take the text of
/// another for a broken message, and their program would not learn that it may try again.
pub(super) fn response<B: From<Body>>(answer: Response<B>) -> Response<B> {
    let Some(code) = answer.headers().get(&ERROR_HEADER) else {
        return answer;
    };
    let message = [b"ggrok: ", code.as_bytes()].concat();
    let message = HeaderValue::from_bytes(&message).expect("a valid value behind a text");
    let status = status(answer.status());
    let (mut head, _) = answer.into_parts();
    head.status = StatusCode::OK;
    head.headers.remove(CONTENT_LENGTH);
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers.insert(CONTENT_TYPE, grpc);
    head.headers.insert("grpc-status", status.into());
    head.headers.insert("grpc-message", message);
    Response::from_parts(head, Body::empty().into())
}

/// The status of gRPC that stands for one of HTTP, as gRPC itself maps them (in its document
/// `http-grpc-status-mapping.md`).
const fn status(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => 13,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND => 12,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::is_call;
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn knows_calls_of_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(is_call(&headers), expected, "{content_type}");
        }
        assert!(!is_call(&HeaderMap::new()));
    }
}
