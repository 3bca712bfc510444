//! Fields on the wire: their names as the Go programs write them, and which of them end at a hop.

use std::str;

use http::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;

use crate::EncodeError;

/// The field that names a call, by which the logs of both sides can be joined.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields that one message may have, above what the HTTP libraries at both ends take.
pub(crate) const MAX_FIELDS: usize = 1000;

/// Removes the fields that concern one connection and not the message (RFC 9110, section 7.6.1):
/// first those that Connection names, then the known ones. Host and Content-Length stay even
/// where Connection names them, since a peer must not unframe or reroute a message that way. So
/// does `TE: trailers`, which every hop may say for itself.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let takes_trailers = takes_trailers(headers);
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    // Mostly it is Connection alone, for which no list is worth its memory.
    while let Some(known) = headers.keys().find(|name| is_hop_by_hop(name)).cloned() {
        headers.remove(known);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    members(headers, TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Removes the fields that speak of trailers, for a dialect that carries none.
pub(crate) fn remove_trailer_fields(headers: &mut HeaderMap) {
    headers.remove(TE);
    headers.remove(TRAILER);
}

/// The fields that Connection names, but those that are known: browsers name Keep-Alive in each request.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    members(headers, CONNECTION)
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| name != HOST && name != CONTENT_LENGTH)
        .collect()
}

/// What a field lists (RFC 9110, section 5.6.1), over all the lines that it has.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// The protocol that a request asks to be upgraded to (RFC 9110, section 7.8). Where HTTP/2 in the
/// clear is among those it names there is none: HTTP/1.1 goes on where it is ignored, and behind a
/// relay it would hide requests. Nor is there one for a request with a body, which would have to be
/// told from what comes behind the upgrade; it goes on without.
#[must_use]
pub fn requested_upgrade(head: &Parts) -> Option<&HeaderValue> {
    let protocol = head.headers.get(UPGRADE)?;
    let asked = head.version == Version::HTTP_11
        && named_by_connection(&head.headers).contains(&UPGRADE)
        && !members(&head.headers, UPGRADE).any(|name| name.eq_ignore_ascii_case(b"h2c"))
        && !announces_body(&head.headers);
    asked.then_some(protocol)
}

fn announces_body(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    headers.contains_key(TRANSFER_ENCODING) || lengths.any(|length| length != "0")
}

/// Whether a field concerns one connection. Connection itself does, so that without such a field there
/// is none that it could name.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A name as Go writes it (`content-type` is `Content-Type`). Go programs look fields up under that
/// name alone.
pub(crate) fn canonical(name: &HeaderName) -> impl Iterator<Item = u8> {
    let mut starts = true;
    name.as_str().bytes().map(move |letter| {
        let written = if starts {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        starts = letter == b'-';
        written
    })
}

/// A value as text, for a dialect whose fields are JSON strings.
pub(crate) fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, EncodeError> {
    str::from_utf8(value.as_bytes()).map_err(|_| EncodeError::FieldNotText(name.clone()))
}

#[cfg(test)]
mod tests {
    use super::{canonical, remove_hop_by_hop, requested_upgrade};
    use http::{HeaderMap, HeaderName, HeaderValue, Request};

    fn map(fields: &[(&'static str, &'static [u8])]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value).unwrap();
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    #[test]
    fn removes_what_connection_names_and_the_known_ones() {
        let mut headers = map(&[
            ("connection", b""),
            ("connection", b"close, x-a ,,\xff, host, content-length"),
            ("host", b"a.example"),
            ("content-length", b"2"),
            ("x-a", b"1"),
            ("x-a", b"2"),
            ("keep-alive", b"timeout=5"),
            ("transfer-encoding", b"chunked"),
            ("te", b"gzip, trailers"),
            ("upgrade", b"h2c"),
            ("x-b", b"stays"),
        ]);
        remove_hop_by_hop(&mut headers);
        let left = map(&[
            ("host", b"a.example"),
            ("content-length", b"2"),
            ("te", b"trailers"),
            ("x-b", b"stays"),
        ]);
        assert_eq!(headers, left);
    }

    #[test]
    fn removes_keep_alive_with_what_names_it() {
        for named in [&b"keep-alive"[..], b"Keep-Alive, x-a", b"close"] {
            let mut headers = map(&[
                ("connection", named),
                ("keep-alive", b"timeout=5"),
                ("keep-alive", b"max=100"),
                ("x-b", b"stays"),
            ]);
            remove_hop_by_hop(&mut headers);
            assert_eq!(headers, map(&[("x-b", b"stays")]));
        }
    }

    #[test]
    fn ignores_the_upgrade_of_a_request_that_has_a_body() {
        let asked = |field: &'static str, value: &'static [u8]| {
            let (mut head, ()) = Request::new(()).into_parts();
            head.headers = map(&[
                ("connection", b"upgrade"),
                ("upgrade", b"x"),
                (field, value),
            ]);
            requested_upgrade(&head).is_some()
        };
        assert!(asked("accept", b"*/*") && asked("content-length", b"0"));
        assert!(!asked("content-length", b"30"));
        assert!(!asked("transfer-encoding", b"chunked"));
    }

    #[test]
    fn ignores_every_upgrade_where_http2_in_the_clear_is_among_them() {
        let asked = |protocols: &[&'static str]| {
            let (mut head, ()) = Request::new(()).into_parts();
            let connection = ("connection", b"upgrade".as_slice());
            let upgrades = protocols.iter().map(|value| ("upgrade", value.as_bytes()));
            head.headers = map(&upgrades.chain([connection]).collect::<Vec<_>>());
            requested_upgrade(&head).is_some()
        };
        assert!(asked(&["x"]) && asked(&["x, h2cx"]));
        for protocols in [&["h2c"][..], &["H2C, x"], &["x ,h2c\t,"], &["x", "h2c"]] {
            assert!(!asked(protocols), "{protocols:?}");
        }
    }

    #[test]
    fn writes_names_as_go_does() {
        for (name, written) in [
            ("content-type", "Content-Type"),
            ("etag", "Etag"),
            ("x-_a--b", "X-_a--B"),
        ] {
            let name = HeaderName::from_static(name);
            assert!(canonical(&name).eq(written.bytes()), "{name}");
        }
    }
}
