//! What a request must be before it is routed.

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::http2;
use crate::error::RelayError;
use crate::host::Host;

/// Reads the host of a request and brings its target into origin form, once and for all: what is
/// routed is what is forwarded.
pub(crate) fn admit<B>(request: &mut Request<B>, head_limit: usize) -> Result<Host, RelayError> {
    if request.version() == Version::HTTP_2 {
        http2::into_http1(request)?;
    }
    check(request, head_limit)?;
    let host = Host::of(request.uri(), request.headers())?;
    bring_into_origin_form(request)?;
    Ok(host)
}

/// Refuses what must not come further, and hyper lets pass.
pub(crate) fn check<B>(request: &Request<B>, head_limit: usize) -> Result<(), RelayError> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(RelayError::Method);
    }
    if target_length(request.uri()) > MAX_TARGET {
        return Err(RelayError::TargetTooLong);
    }
    if request.headers().len() > MAX_FIELDS {
        return Err(RelayError::HeadTooLarge);
    }
    let fields = request.headers().iter();
    // Four bytes of each line are its colon, space and line end.
    let head: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if head > head_limit {
        return Err(RelayError::HeadTooLarge);
    }
    if !is_chunked_or_plain(request.headers()) {
        return Err(RelayError::TransferCoding);
    }
    if !is_expectation_known(request) {
        return Err(RelayError::Expectation);
    }
    Ok(())
}

/// hyper takes no notice of other expectations (RFC 9110, section 10.1.1). There are none in HTTP/1.0.
fn is_expectation_known<B>(request: &Request<B>) -> bool {
    let mut expected = request.headers().get_all(EXPECT).iter();
    request.version() == Version::HTTP_10
        || expected.all(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// hyper takes `gzip, chunked` and removes the chunks alone: what is left would be damaged.
fn is_chunked_or_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

fn target_length(uri: &Uri) -> usize {
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    authority + uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// RFC 9112, section 3.2: an absolute target gives its authority to the Host field; `*` is for
/// OPTIONS alone; an authority without a scheme is for CONNECT alone.
fn bring_into_origin_form<B>(request: &mut Request<B>) -> Result<(), RelayError> {
    let uri = request.uri();
    let options = request.method() == Method::OPTIONS;
    let Some(authority) = uri.authority() else {
        return match uri.path() {
            "*" if !options => Err(RelayError::BadTarget),
            _ => Ok(()),
        };
    };
    if uri.scheme().is_none() {
        return Err(RelayError::BadTarget);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| RelayError::BadHost)?;
    let path = match uri.path_and_query() {
        // `http://host?query` has an empty path, for which a path is written.
        Some(path) if path.as_str().starts_with('?') => {
            let path = format!("/{}", path.as_str());
            PathAndQuery::try_from(path).map_err(|_| RelayError::BadTarget)?
        }
        // `http://host#fragment` has one that reads as "/" and makes a target without a path.
        Some(path) if path.as_str() != "/" => path.clone(),
        _ => PathAndQuery::from_static("/"),
    };
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// Bytes of a target. RFC 9112, section 3 asks for at least 8,000; hyper takes up to 65,534 and
/// refuses more without a word.
const MAX_TARGET: usize = 32 << 10;

/// Fields of a request. hyper's own limit is set to twice that, and refuses without a word.
pub(super) const MAX_FIELDS: usize = 256;
