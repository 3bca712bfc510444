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

use super::envelope::{Fields, fit_body, frame, json, method, object, status, trim};
use super::target;
use crate::{DecodeError, EncodeError};

#[derive(Serialize, Deserialize)]
struct RequestEnvelope<'a, H> {
    #[serde(borrow)]
    method: Cow<'a, str>,
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
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    headers: Option<H>,
    status_code: u16,
}

/// Writes a request as an envelope. Its URI has a scheme and a host, which magic-mirror's client
/// wants and, with `--local`, replaces.
pub(crate) fn encode_request(head: &request::Parts, body: &[u8]) -> Result<String, EncodeError> {
    let target = target::write(&head.uri)?;
    if target == "*" {
        return Err(EncodeError::Asterisk);
    }
    let mut fields = head.headers.clone();
    frame(&mut fields, body);
    Ok(BASE64_STANDARD.encode(json(&RequestEnvelope {
        method: head.method.as_str().into(),
        uri: format!("http://localhost{target}").into(),
        body: Some(BASE64_STANDARD.encode(body).into()),
        headers: Some(object(&fields)?),
    })))
}

/// Reads a request from an envelope. Only path and query of its URI are kept, and its body is as
/// long as it is: the original client does not look at an announced length either, and servers that
/// copy a visitor's fields may send one of another body.
pub(crate) fn decode_request(message: &[u8]) -> Result<Request<Bytes>, DecodeError> {
    let envelope = BASE64_STANDARD.decode(message)?;
    let envelope: RequestEnvelope<'_, Fields> = serde_json::from_slice(&envelope)?;
    let body = BASE64_STANDARD.decode(envelope.body.as_deref().unwrap_or_default())?;
    let mut headers = envelope.headers.unwrap_or_default().into_map()?;
    frame(&mut headers, &body);
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = method(&envelope.method)?;
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
    let envelope = BASE64_STANDARD.decode(message)?;
    let envelope: ResponseEnvelope<'_, Fields> = serde_json::from_slice(&envelope)?;
    let body = BASE64_STANDARD.decode(envelope.body.as_deref().unwrap_or_default())?;
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status(envelope.status_code)?;
    *response.headers_mut() = envelope.headers.unwrap_or_default().into_map()?;
    trim(response.headers_mut());
    fit_body(&mut response, method)?;
    Ok(response)
}

#[cfg(test)]
mod tests;
