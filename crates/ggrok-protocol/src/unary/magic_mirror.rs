//! magic-mirror's envelopes: one JSON object each way, in base64 as a text message.
//!
//! A request is `{method, uri, body, headers}`, a response `{body, headers, status_code}`; both
//! bodies are base64 once more, so that they may be of any bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, request, response};
use serde::{Deserialize, Serialize};

use super::envelope::{Fields, fit_body, frame, json, method, object, read_json, status, trim};
use super::target;
use crate::{DecodeError, EncodeError};

#[derive(Serialize, Deserialize)]
struct RequestEnvelope<'a, H> {
    /// Go takes none, or an empty one, for GET.
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Cow<'a, str>,
    /// Go writes `null` where it has no body.
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    /// Names to lists of values. Go writes `null` where it has none.
    headers: Option<H>,
}

#[derive(Serialize, Deserialize)]
struct ResponseEnvelope<'a, H> {
    /// `null` where the original client could not read the response to its end. An empty body is a
    /// string, or not there.
    #[serde(borrow, default = "no_body")]
    body: Option<Cow<'a, str>>,
    headers: Option<H>,
    status_code: u16,
}

const fn no_body<'a>() -> Option<Cow<'a, str>> {
    Some(Cow::Borrowed(""))
}

/// Writes a request as an envelope. Its URI has a scheme and a host, which magic-mirror's client
/// wants and, with `--local`, replaces.
pub(crate) fn encode_request(head: request::Parts, body: &[u8]) -> Result<String, EncodeError> {
    let (target, mut fields) = (target::write(&head.uri)?, head.headers);
    if target == "*" {
        return Err(EncodeError::Asterisk);
    }
    frame(&mut fields, body);
    Ok(BASE64_STANDARD.encode(json(&RequestEnvelope {
        method: Some(head.method.as_str().into()),
        uri: format!("http://localhost{target}").into(),
        body: Some(BASE64_STANDARD.encode(body).into()),
        headers: Some(object(&fields)?),
    })))
}

/// Reads a request from an envelope. Only path and query of its URI are kept, and its body is as
/// long as it is: the original client does not look at an announced length either, and servers that
/// copy a visitor's fields may send one of another body.
pub(crate) fn decode_request(message: &[u8]) -> Result<Request<Bytes>, DecodeError> {
    let envelope = decode_base64(message)?;
    let envelope: RequestEnvelope<'_, Fields> = read_json(&envelope)?;
    let body = decode_base64(envelope.body.as_deref().unwrap_or_default().as_bytes())?;
    let mut headers = envelope.headers.unwrap_or_default().into_map()?;
    frame(&mut headers, &body);
    let mut request = Request::new(Bytes::from(body));
    if let Some(name) = envelope.method.filter(|name| !name.is_empty()) {
        *request.method_mut() = method(&name)?;
    }
    *request.uri_mut() = target::read(&envelope.uri)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Writes a response as an envelope.
pub(crate) fn encode_response(head: &response::Parts, body: &[u8]) -> Result<String, EncodeError> {
    let mut headers = head.headers.clone();
    trim(&mut headers);
    Ok(BASE64_STANDARD.encode(json(&ResponseEnvelope {
        body: Some(BASE64_STANDARD.encode(body).into()),
        headers: Some(object(&headers)?),
        status_code: head.status.as_u16(),
    })))
}

/// Reads a response to a request with this method from an envelope. Its body has the length that
/// was announced, or none where HTTP allows none (RFC 9110, section 6.4.1).
pub(crate) fn decode_response(
    message: &[u8],
    method: &Method,
) -> Result<Response<Bytes>, DecodeError> {
    let envelope = decode_base64(message)?;
    let envelope: ResponseEnvelope<'_, Fields> = read_json(&envelope)?;
    let body = envelope.body.ok_or(DecodeError::BrokenOff)?;
    let body = decode_base64(body.as_bytes())?;
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status(envelope.status_code)?;
    *response.headers_mut() = envelope.headers.unwrap_or_default().into_map()?;
    trim(response.headers_mut());
    fit_body(&mut response, method)?;
    Ok(response)
}

/// Reads base64 as Go does: line breaks do not count. Programs that are not Go write some.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>, base64::DecodeError> {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !text.iter().any(is_break) {
        return BASE64_STANDARD.decode(text);
    }
    let mut unbroken = text.to_vec();
    unbroken.retain(|byte| !is_break(byte));
    BASE64_STANDARD.decode(unbroken)
}

#[cfg(test)]
mod tests;
