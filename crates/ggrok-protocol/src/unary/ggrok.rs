//! ggrok's own envelopes: one JSON text message each way.
//!
//! A request is `{Req, URL}` with the whole request as HTTP/1.1 text in `Req`; a response is
//! `{Status, StatusCode, Proto, Header, Body, ContentType}` with its body in base64.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut, Bytes};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, request, response};
use serde::{Deserialize, Serialize};

use super::envelope::{
    Fields, fit_body, frame, header_value, json, object, read_json, status, trim,
};
use super::{http1, target};
use crate::headers::text;
use crate::json::put_text;
use crate::{DecodeError, EncodeError};

#[derive(Deserialize)]
struct RequestEnvelope<'a> {
    #[serde(rename = "Req", borrow)]
    request: Cow<'a, str>,
    /// Not needed, since the request has its target; an envelope has it all the same.
    #[serde(rename = "URL", borrow)]
    _url: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseEnvelope<'a, H> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    status_code: u16,
    #[serde(borrow, default)]
    proto: Cow<'a, str>,
    /// Names to lists of values. Go writes `null` where it has none.
    header: Option<H>,
    /// Go writes `null` where it has no body.
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content_type: Cow<'a, str>,
}

/// Writes a request as an envelope. Its body is framed by Content-Length, however it came.
pub(crate) fn encode_request(head: request::Parts, body: &[u8]) -> Result<String, EncodeError> {
    let text = str::from_utf8(body).map_err(|_| EncodeError::BodyNotText)?;
    let (target, mut fields) = (target::write(&head.uri)?, head.headers);
    frame(&mut fields, body);
    let mut out = Vec::with_capacity(LIKELY + 2 * target.len() + body.len());
    out.put_slice(b"{\"Req\":\"");
    http1::put(&mut out, &head.method, target, &fields, text)?;
    out.put_slice(b"\",\"URL\":\"");
    put_text(&mut out, &url(target));
    out.put_slice(b"\"}");
    Ok(String::from_utf8(out).expect("it is made of text"))
}

/// Bytes that most heads take, beside their target.
const LIKELY: usize = 1 << 10;

/// The target as ggrok's own client has to find it: it reads the path from here with Go's URL
/// parser, which takes `//x/y` for a host.
fn url(target: &str) -> Cow<'_, str> {
    if target.starts_with("//") {
        format!("http://localhost{target}").into()
    } else {
        target.into()
    }
}

/// Reads a request from an envelope.
pub(crate) fn decode_request(message: &[u8]) -> Result<Request<Bytes>, DecodeError> {
    let envelope: RequestEnvelope<'_> = read_json(message)?;
    http1::read(&envelope.request)
}

/// Writes a response as an envelope.
pub(crate) fn encode_response(head: &response::Parts, body: &[u8]) -> Result<String, EncodeError> {
    let mut headers = head.headers.clone();
    trim(&mut headers);
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(Ok(""), |value| text(&CONTENT_TYPE, value))?;
    let reason = head.status.canonical_reason().unwrap_or_default();
    let envelope = ResponseEnvelope {
        status: format!("{} {reason}", head.status.as_str()).into(),
        status_code: head.status.as_u16(),
        proto: format!("{:?}", head.version).into(),
        header: Some(object(&headers)?),
        body: Some(BASE64_STANDARD.encode(body).into()),
        content_type: content_type.into(),
    };
    Ok(json(&envelope))
}

/// Reads a response to a request with this method from an envelope. Its body has the length that
/// was announced, or none where HTTP allows none (RFC 9110, section 6.4.1).
pub(crate) fn decode_response(
    message: &[u8],
    method: &Method,
) -> Result<Response<Bytes>, DecodeError> {
    let envelope: ResponseEnvelope<'_, Fields> = read_json(message)?;
    let body = BASE64_STANDARD.decode(envelope.body.as_deref().unwrap_or_default())?;
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status(envelope.status_code)?;
    *response.headers_mut() = envelope.header.unwrap_or_default().into_map()?;
    let headers = response.headers_mut();
    if !envelope.content_type.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, header_value(&envelope.content_type)?);
    }
    trim(headers);
    fit_body(&mut response, method)?;
    Ok(response)
}

#[cfg(test)]
mod tests;
