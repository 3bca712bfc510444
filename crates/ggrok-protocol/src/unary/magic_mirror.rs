//! magic-mirror's envelopes: one JSON object each way, in base64 as a text message.
//!
//! A request is `{method, uri, body, headers}`, a response `{body, headers, status_code}`; both
//! bodies are base64 once more, so that they may be of any bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, request, response};
use serde::{Deserialize, Serialize};

use super::envelope::{Fields, fit_body, json, method, object, request_fields, status, trim};
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
        return Err(EncodeError::Target);
    }
    let fields = request_fields(head, body);
    Ok(BASE64_STANDARD.encode(json(&RequestEnvelope {
        method: head.method.as_str().into(),
        uri: format!("http://localhost{target}").into(),
        body: Some(BASE64_STANDARD.encode(body).into()),
        headers: Some(object(&fields)?),
    })))
}

/// Reads a request from an envelope. Only path and query of its URI are kept.
pub(crate) fn decode_request(message: &[u8]) -> Result<Request<Bytes>, DecodeError> {
    let envelope = BASE64_STANDARD.decode(message)?;
    let envelope: RequestEnvelope<'_, Fields> = serde_json::from_slice(&envelope)?;
    let body = BASE64_STANDARD.decode(envelope.body.as_deref().unwrap_or_default())?;
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = method(&envelope.method)?;
    *request.uri_mut() = target::read(&envelope.uri)?;
    *request.headers_mut() = envelope.headers.unwrap_or_default().into_map()?;
    check_length(request.headers(), request.body())?;
    trim(request.headers_mut());
    Ok(request)
}

/// Holds a body against the length that the visitor announced, where the envelope has that.
fn check_length(headers: &HeaderMap, body: &[u8]) -> Result<(), DecodeError> {
    match headers.get(CONTENT_LENGTH) {
        Some(length) if length != body.len().to_string().as_str() => Err(DecodeError::BodyLength {
            announced: String::from_utf8_lossy(length.as_bytes()).into_owned(),
            actual: body.len(),
        }),
        _ => Ok(()),
    }
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
