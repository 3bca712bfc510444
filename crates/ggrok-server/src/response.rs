//! The app's response, as it goes to the visitor.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use hyper::ext::ReasonPhrase;

/// Makes a response what HTTP says that it is.
pub(crate) fn onward(mut response: Response) -> Response {
    if response.status() == StatusCode::RESET_CONTENT {
        // RFC 9110, section 15.3.6: it has no content, and says so.
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    if response.status().canonical_reason().is_none() {
        // hyper would make one up.
        let none = ReasonPhrase::from_static(b"");
        response.extensions_mut().insert(none);
    }
    response
}
