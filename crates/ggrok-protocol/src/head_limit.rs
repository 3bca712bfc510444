//! How long heads and trailers may be on a tunnel.

use http::HeaderMap;

use crate::v2::fields_length;

/// Bytes of a request's head. A relay takes 64 KiB of a visitor's fields, which JSON writes in twice as many
/// bytes at most.
pub(crate) const REQUEST: usize = 128 << 10;

/// Bytes of a response's head: as much as browsers take.
pub(crate) const RESPONSE: usize = 256 << 10;

/// Bytes of trailers.
pub(crate) const TRAILERS: usize = 64 << 10;

/// Bytes of a head beside its fields: the method or status, and the protocol of an upgrade.
const BESIDE_FIELDS: usize = 1 << 10;

/// Whether a response with these fields has a head that a relay takes.
#[must_use]
pub fn fits_response(fields: &HeaderMap) -> bool {
    fit(fields, RESPONSE - BESIDE_FIELDS)
}

/// Whether a request with these fields has a head that a client takes.
pub(crate) fn fits_request(fields: &HeaderMap) -> bool {
    fit(fields, REQUEST - BESIDE_FIELDS)
}

/// Whether the peer takes these trailers.
pub(crate) fn fit_trailers(fields: &HeaderMap) -> bool {
    fit(fields, TRAILERS)
}

fn fit(fields: &HeaderMap, most: usize) -> bool {
    // JSON writes no byte of a value in more than two. Few heads are so long that it must be known exactly.
    length(fields).saturating_mul(2) <= most || fields_length(fields) <= most
}

/// Bytes of fields, with the punctuation of JSON.
pub(crate) fn length(fields: &HeaderMap) -> usize {
    let lengths = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + PUNCTUATION);
    lengths.sum()
}

/// `["",""],`
const PUNCTUATION: usize = 8;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{BESIDE_FIELDS, RESPONSE, fits_response};

    /// One field with a value of so many of these bytes.
    fn fields(byte: u8, length: usize) -> HeaderMap {
        let value = HeaderValue::from_bytes(&vec![byte; length]).unwrap();
        [(http::header::ETAG, value)].into_iter().collect()
    }

    #[test]
    fn counts_a_value_as_it_is_written() {
        let most = RESPONSE - BESIDE_FIELDS - r#"[["etag",""]]"#.len();
        for (byte, most) in [
            (b'a', most),
            (b'"', most / 2),
            (0xe9, most / 2),
            (b'\t', most / 2),
        ] {
            assert!(fits_response(&fields(byte, most)), "{byte}");
            assert!(!fits_response(&fields(byte, most + 1)), "{byte}");
        }
    }
}
