//! A request as HTTP/1.1 text (RFC 9112), the form in which ggrok's envelope holds it.

use bytes::{BufMut, Bytes};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request};

use super::envelope::{frame, method};
use super::target;
use crate::headers::{canonical, text};
use crate::json::put_text;
use crate::{DecodeError, EncodeError};

/// Writes a request with its whole body as what stands between the quotes of a JSON string. Its fields are
/// those of a request that is whole.
pub(super) fn put(
    out: &mut Vec<u8>,
    method: &Method,
    target: &str,
    fields: &HeaderMap,
    body: &str,
) -> Result<(), EncodeError> {
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    put_text(out, target);
    out.put_slice(b" HTTP/1.1");
    out.put_slice(LINE_END);
    // Go reads the fields in any order, but people who debug expect Host first.
    for value in fields.get_all(HOST) {
        put_field(out, &HOST, value)?;
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != HOST) {
        put_field(out, name, value)?;
    }
    out.put_slice(LINE_END);
    put_text(out, body);
    Ok(())
}

fn put_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) -> Result<(), EncodeError> {
    // A token holds nothing that JSON escapes.
    out.extend(canonical(name));
    out.put_slice(b": ");
    put_text(out, text(name, value)?);
    out.put_slice(LINE_END);
    Ok(())
}

/// The end of a line, as JSON has it.
const LINE_END: &[u8] = br"\r\n";

/// Reads a request and its whole body.
pub(super) fn read(request: &str) -> Result<Request<Bytes>, DecodeError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(end) = parsed.parse(request.as_bytes())? else {
        return Err(DecodeError::Cut);
    };
    let mut head = Request::new(());
    *head.method_mut() = method(parsed.method.unwrap_or_default())?;
    *head.uri_mut() = target::read(parsed.path.unwrap_or_default())?;
    *head.headers_mut() = headers(parsed.headers)?;
    let body = unframe(head.headers(), &request.as_bytes()[end..])?;
    frame(head.headers_mut(), &body);
    Ok(head.map(|()| body))
}

/// Fields that a request may have: what a relay lets through, and those that it adds.
const MAX_FIELDS: usize = 300;

fn headers(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, DecodeError> {
    parsed
        .iter()
        .map(|field| {
            let name = HeaderName::from_bytes(field.name.as_bytes())?;
            Ok((name, HeaderValue::from_bytes(field.value)?))
        })
        .collect::<Result<_, http::Error>>()
        .map_err(DecodeError::Invalid)
}

/// Takes the body out of its framing, and holds it against the length that it was announced with:
/// ggrok's relay damages a body that is not UTF-8, and that shows here.
fn unframe(headers: &HeaderMap, body: &[u8]) -> Result<Bytes, DecodeError> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return dechunk(body);
    }
    let announced = headers.get(CONTENT_LENGTH).map_or("0", |length| {
        length.to_str().unwrap_or("a length that is no number")
    });
    if announced.parse() != Ok(body.len()) {
        return Err(DecodeError::BodyLength {
            announced: announced.to_owned(),
            actual: body.len(),
        });
    }
    Ok(Bytes::copy_from_slice(body))
}

/// Joins the chunks of a body (RFC 9112, section 7.1). Trailers are dropped.
fn dechunk(mut body: &[u8]) -> Result<Bytes, DecodeError> {
    let mut whole = Vec::with_capacity(body.len());
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(body) else {
            return Err(DecodeError::Chunks);
        };
        if size == 0 {
            return Ok(whole.into());
        }
        let size = usize::try_from(size).map_err(|_| DecodeError::Chunks)?;
        let end = start.checked_add(size).ok_or(DecodeError::Chunks)?;
        whole.extend_from_slice(body.get(start..end).ok_or(DecodeError::Chunks)?);
        body = body[end..]
            .strip_prefix(b"\r\n")
            .ok_or(DecodeError::Chunks)?;
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::DecodeError;

    fn body(framed: &str) -> Result<Vec<u8>, DecodeError> {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{framed}");
        read(&request).map(|request| request.into_body().to_vec())
    }

    #[test]
    fn takes_a_body_out_of_its_framing() {
        assert_eq!(body("\r\n").unwrap(), b"");
        assert_eq!(body("Content-Length: 2\r\n\r\nhi").unwrap(), b"hi");
        let chunked = "Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), b"abc0123456789");
    }

    #[test]
    fn announces_the_length_of_a_body_once() {
        for framed in [
            "Content-Length: +2\r\nContent-Length: 9\r\n\r\nhi",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ] {
            let request = read(&format!("POST / HTTP/1.1\r\n{framed}")).unwrap();
            assert_eq!(request.headers().len(), 1);
            assert_eq!(request.headers()["content-length"], "2");
        }
    }

    #[test]
    fn refuses_a_body_that_is_not_as_announced() {
        for (framed, wrong) in [
            ("Content-Length: 3\r\n\r\nhi", "BodyLength"),
            ("Content-Length: 1\r\n\r\nhi", "BodyLength"),
            ("Content-Length: x\r\n\r\nhi", "BodyLength"),
            ("\r\nhi", "BodyLength"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nab", "Chunks"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n", "Chunks"),
            (
                "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab",
                "Chunks",
            ),
            ("Transfer-Encoding: chunked\r\n\r\n", "Chunks"),
            ("", "Cut"),
        ] {
            let error = format!("{:?}", body(framed).unwrap_err());
            assert!(error.starts_with(wrong), "{framed:?}: {error}");
        }
    }
}
