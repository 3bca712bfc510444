//! Which envelopes a unary tunnel speaks in.

use bytes::Bytes;
use http::{Method, Request, Response, request, response};

use super::{ggrok, magic_mirror};
use crate::head_limit::fits_request;
use crate::{DecodeError, EncodeError, replayable};

/// The envelopes of one unary dialect: four pure functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Ggrok,
    MagicMirror,
}

impl Codec {
    /// Writes a request as the text of one message.
    pub(crate) fn encode_request(
        self,
        head: request::Parts,
        body: &[u8],
    ) -> Result<String, EncodeError> {
        match self {
            Self::Ggrok => ggrok::encode_request(head, body),
            Self::MagicMirror => magic_mirror::encode_request(head, body),
        }
    }

    /// Reads a request that a client may replay. Its target has no scheme and no authority, whatever the
    /// relay sent.
    pub(crate) fn decode_request(self, message: &[u8]) -> Result<Request<Bytes>, DecodeError> {
        let request = match self {
            Self::Ggrok => ggrok::decode_request(message),
            Self::MagicMirror => magic_mirror::decode_request(message),
        }?;
        replayable::check(&request)?;
        if !fits_request(request.headers()) {
            return Err(DecodeError::HeadTooLarge);
        }
        Ok(request)
    }

    /// Writes a response as the text of one message.
    pub(crate) fn encode_response(
        self,
        head: &response::Parts,
        body: &[u8],
    ) -> Result<String, EncodeError> {
        match self {
            Self::Ggrok => ggrok::encode_response(head, body),
            Self::MagicMirror => magic_mirror::encode_response(head, body),
        }
    }

    /// Reads a response to a request with this method.
    pub(crate) fn decode_response(
        self,
        message: &[u8],
        method: &Method,
    ) -> Result<Response<Bytes>, DecodeError> {
        match self {
            Self::Ggrok => ggrok::decode_response(message, method),
            Self::MagicMirror => magic_mirror::decode_response(message, method),
        }
    }
}
