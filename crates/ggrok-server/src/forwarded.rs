//! What the app is told of its visitor: the X-Forwarded fields, and Forwarded.

use std::net::{IpAddr, SocketAddr};

use ggrok_protocol::{REQUEST_ID, TOKEN_HEADER};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName,
    HeaderValue, TRANSFER_ENCODING,
};

use self::claims::is_claim;
use crate::field_name::{has_same_words, is_unusual, words};
use crate::gate::{LOGIN_HEADER, is_path_field};
use crate::peer::Peer;

mod claims;
mod hops;
mod standard;

pub(crate) use self::hops::check as check_hops;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What these fields of a request will say.
pub(crate) struct Forwarded {
    /// Unknown where an app embeds the relay and does not say.
    seen: Option<HeaderValue>,
    proto: &'static str,
    told: Told,
    /// Whether routers of ours may have said more of the visitor.
    routed: bool,
}

/// What the fields say by the host that was asked for. It is the same for most requests of a peer, who keeps
/// it ([`Peer::told`]).
#[derive(Clone)]
pub(crate) struct Told {
    host: Option<HeaderValue>,
    port: HeaderValue,
    standard: HeaderValue,
}

impl Told {
    fn new(seen: Option<&HeaderValue>, host: Option<&HeaderValue>, proto: &str, port: u16) -> Self {
        Self {
            // A copy, since the request's is part of the buffer that was read.
            host: host.map(|host| value(host.as_bytes())),
            port: port.into(),
            standard: standard::field(seen, host, proto),
        }
    }

    /// Whether it is what is said for this host.
    pub(crate) fn is_for(&self, host: Option<&HeaderValue>) -> bool {
        self.host.as_ref() == host
    }
}

impl Forwarded {
    /// Reads who sent a request that came from `peer` over so many trusted hops.
    ///
    /// Without trusted hops nothing that the visitor says of itself is believed. With some, the
    /// peer is a router of ours: the last entries of X-Forwarded-For are what such routers saw,
    /// and the scheme and port are the last that one of them wrote.
    pub(crate) fn of(headers: &HeaderMap, peer: Option<&Peer>, trusted_hops: usize) -> Self {
        let host = headers.get(HOST);
        let port = || host.and_then(port_of);
        if let (0, Some(peer)) = (trusted_hops, peer) {
            let seen = Some(peer.text().clone());
            let proto = "http";
            let tell = || Told::new(seen.as_ref(), host, proto, port().unwrap_or(80));
            return Self {
                told: peer.told(host, tell),
                seen,
                proto,
                routed: false,
            };
        }
        let trusted = trusted_entries(headers, trusted_hops);
        let trusted = trusted.map(|entries| value(entries.as_bytes()));
        let seen = trusted.or_else(|| Some(peer?.text().clone()));
        let secure = is_secure(headers, trusted_hops);
        let routed = trusted_hops > 0;
        let told_port = || last(headers, &PORT)?.parse::<u16>().ok();
        let port = routed
            .then(told_port)
            .flatten()
            .or_else(port)
            .unwrap_or(if secure { 443 } else { 80 });
        let proto = if secure { "https" } else { "http" };
        Self {
            told: Told::new(seen.as_ref(), host, proto, port),
            seen,
            proto,
            routed,
        }
    }

    /// Sets the fields, in the place of all that were there, of other spellings of them and of what
    /// else says the same.
    pub(crate) fn set(self, headers: &mut HeaderMap) {
        remove_claims(headers, self.routed);
        headers.insert(FORWARDED, self.told.standard);
        headers.insert(PROTO, HeaderValue::from_static(self.proto));
        headers.insert(PORT, self.told.port);
        for (name, value) in [(FOR, self.seen), (ORIGINAL_HOST, self.told.host)] {
            match value {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
    }
}

/// The visitor's address, as the outermost of the trusted hops saw it: the first that X-Forwarded-For
/// will name. Nothing where what came over them is no address, since the peer is such a hop then.
pub(crate) fn visitor(
    headers: &HeaderMap,
    peer: Option<&Peer>,
    trusted_hops: usize,
) -> Option<IpAddr> {
    if trusted_hops == 0 || !headers.contains_key(FOR) {
        return peer.map(Peer::address);
    }
    let entries = trusted_entries(headers, trusted_hops)?;
    let first = entries.split(", ").next()?;
    let bare = first.trim_start_matches('[').trim_end_matches(']');
    let with_port = || first.parse().map(|address: SocketAddr| address.ip());
    let address: IpAddr = bare.parse().or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

/// Whether the visitor came by TLS, as the trusted hops say.
pub(crate) fn is_secure(headers: &HeaderMap, trusted_hops: usize) -> bool {
    trusted_hops > 0 && last(headers, &PROTO) == Some("https")
}

/// Removes the fields by which a visitor could pass itself off as another, or move a request. A name
/// with `_` never passes: CGI and its successors read it as the one with `-`, and gunicorn takes the path
/// from `SCRIPT_NAME`. Without trusted hops, no claim of an address or host passes either.
///
/// Behind routers of ours their own fields stay, such as X-Forwarded-User or CF-Connecting-IP; the routers
/// must see to it that these are theirs.
fn remove_claims(headers: &mut HeaderMap, routed: bool) {
    let is_removed = |name: &&HeaderName| {
        let name = name.as_str();
        if RIVALS.contains(&name) || !routed && is_claim(name) {
            return true;
        }
        is_unusual(name) && is_other_spelling(name)
    };
    let removed: Vec<HeaderName> = headers.keys().filter(is_removed).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Whether an app may read a name with an unusual octet as that of another field.
fn is_other_spelling(name: &str) -> bool {
    let is_same = |known: &str| has_same_words(name, known);
    // One without a letter or digit is no other field's.
    name.contains('_') && words(name).next().is_some()
        || is_claim(name)
        || RIVALS.iter().any(|rival| is_same(rival))
        || OURS.iter().any(|ours| is_same(ours.as_str()))
}

/// Removes from trailers what no visitor says in its header either. No router adds trailers.
pub(crate) fn remove_claims_from_trailers(trailers: &mut HeaderMap) {
    let is_removed = |name: &&HeaderName| {
        let name = name.as_str();
        name.contains('_') || is_claim(name) || RIVALS.contains(&name) || is_path_field(name)
    };
    let removed: Vec<HeaderName> = trailers.keys().filter(is_removed).cloned().collect();
    for name in removed {
        trailers.remove(name);
    }
}

/// Names by which apps know the visitor's address and scheme, and one that CGI reads as the variable
/// HTTP_PROXY.
const RIVALS: [&str; 4] = [
    "proxy",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-real-ip",
];

/// Names of which no other spelling may pass.
const OURS: [HeaderName; 9] = [
    REQUEST_ID,
    TOKEN_HEADER,
    LOGIN_HEADER,
    AUTHORIZATION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    COOKIE,
    HOST,
    TRANSFER_ENCODING,
];

/// The right-most entries of X-Forwarded-For, as many as there are trusted hops. They have to be
/// addresses: a router writes nothing else.
fn trusted_entries(headers: &HeaderMap, trusted_hops: usize) -> Option<String> {
    if trusted_hops == 0 {
        return None;
    }
    let entries: Vec<&[u8]> = headers
        .get_all(FOR)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .collect();
    let trusted = &entries[entries.len().saturating_sub(trusted_hops)..];
    let trusted: Vec<&str> = trusted
        .iter()
        .map(|entry| address(entry))
        .collect::<Option<_>>()?;
    (!trusted.is_empty()).then(|| trusted.join(", "))
}

/// An entry as text, where it is an address, with or without a port.
fn address(entry: &[u8]) -> Option<&str> {
    let text = str::from_utf8(entry).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let is_address = bare.unwrap_or(text).parse::<IpAddr>().is_ok();
    (is_address || text.parse::<SocketAddr>().is_ok()).then_some(text)
}

/// The right-most entry of a field. Routers mostly set these, or hand on what is there; where one appends,
/// the entry is the innermost router's. One further to the left may be the visitor's own, since nobody
/// knows how many of the trusted hops have written any.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

fn port_of(host: &HeaderValue) -> Option<u16> {
    host.to_str().ok()?.rsplit_once(':')?.1.parse().ok()
}

fn value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("an address, or part of a field that was valid")
}

#[cfg(test)]
mod tests {
    use super::{Forwarded, Peer};
    use http::{HeaderMap, HeaderName};
    use std::net::IpAddr;

    fn peer() -> Peer {
        let address: IpAddr = "::ffff:10.0.0.9".parse().unwrap();
        address.into()
    }

    fn told(fields: &[(&'static str, &str)], hops: usize) -> [String; 4] {
        let mut headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let peer = peer();
        Forwarded::of(&headers, Some(&peer), hops).set(&mut headers);
        ["for", "proto", "host", "port"].map(|name| {
            let values: Vec<_> = headers
                .get_all(format!("x-forwarded-{name}"))
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            values.join("|")
        })
    }

    const SPOOFED: &[(&str, &str)] = &[
        ("host", "a.example"),
        ("x-forwarded-for", "127.0.0.1, 192.0.2.7"),
        ("x-forwarded-for", "198.51.100.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "443"),
    ];

    #[test]
    fn believes_nobody_without_trusted_hops() {
        assert_eq!(told(SPOOFED, 0), ["10.0.0.9", "http", "a.example", "80"]);
        let port = told(&[("host", "a.example:8080")], 0);
        assert_eq!(port, ["10.0.0.9", "http", "a.example:8080", "8080"]);
    }

    #[test]
    fn tells_of_the_host_that_each_request_of_a_connection_asks_for() {
        let peer = peer();
        for (host, port) in [("a", "80"), ("a", "80"), ("b:8080", "8080"), ("a", "80")] {
            let mut headers = HeaderMap::new();
            headers.insert("host", host.parse().unwrap());
            Forwarded::of(&headers, Some(&peer), 0).set(&mut headers);
            let mark = if host.contains(':') { "\"" } else { "" };
            let standard = format!("for=10.0.0.9;host={mark}{host}{mark};proto=http");
            assert_eq!(headers["forwarded"], standard);
            assert_eq!(headers["x-forwarded-host"], host);
            assert_eq!(headers["x-forwarded-port"], port);
            assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        }
    }

    #[test]
    fn believes_as_many_hops_as_it_is_told() {
        assert_eq!(
            told(SPOOFED, 1),
            ["198.51.100.2", "https", "a.example", "443"]
        );
        assert_eq!(told(SPOOFED, 2)[0], "192.0.2.7, 198.51.100.2");
        assert_eq!(told(SPOOFED, 9)[0], "127.0.0.1, 192.0.2.7, 198.51.100.2");
    }

    #[test]
    fn takes_no_scheme_or_port_that_the_visitor_may_have_written() {
        let appended = [
            ("host", "a"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-port", "443, 80"),
        ];
        // The outer hop may have appended to the visitor's, and the inner one have handed that on.
        for hops in 1..=3 {
            assert_eq!(told(&appended, hops)[1..], ["http", "a", "80"]);
        }
    }

    #[test]
    fn takes_addresses_alone_for_addresses() {
        let hidden = [
            ("host", "a"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "\u{ff}, 203.0.113.9"),
        ];
        assert_eq!(told(&hidden, 1)[0], "203.0.113.9");
        assert_eq!(told(&hidden, 2)[0], "10.0.0.9");
        let with_port = [("host", "a"), ("x-forwarded-for", "[2001:db8::1]:443")];
        assert_eq!(told(&with_port, 1)[0], "[2001:db8::1]:443");
    }

    #[test]
    fn knows_the_visitor_by_trusted_hops_alone() {
        let visitor = |fields: &[(&'static str, &str)], hops| {
            let headers: HeaderMap = fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            let peer = peer();
            super::visitor(&headers, Some(&peer), hops).map(|address| address.to_string())
        };
        let seen = |address: &str| Some(address.to_owned());
        assert_eq!(visitor(SPOOFED, 0), seen("10.0.0.9"));
        // A map keeps the last of two fields.
        assert_eq!(visitor(SPOOFED, 1), seen("198.51.100.2"));
        let two = [("x-forwarded-for", "127.0.0.1, 192.0.2.7, 198.51.100.2")];
        assert_eq!(visitor(&two, 2), seen("192.0.2.7"));
        assert_eq!(visitor(&[], 1), seen("10.0.0.9"));
        for (entry, address) in [
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("192.0.2.7:80", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(visitor(&[("x-forwarded-for", entry)], 1), seen(address));
        }
        for nobody in ["unknown", "127.0.0.1, x", ""] {
            assert_eq!(visitor(&[("x-forwarded-for", nobody)], 1), None, "{nobody}");
        }
    }

    #[test]
    fn removes_other_spellings() {
        let mut headers: HeaderMap = [
            "x_forwarded_for",
            "x-forwarded_proto",
            "x_ggrok_token",
            "x_ggrok_authorization",
            "x_request_id",
            "forwarded",
            "proxy",
            "x-real-ip",
            "x_real_ip",
            "x-forwarded-ssl",
            "x-forwarded-prefix",
            "x_other",
        ]
        .map(|name| (HeaderName::from_static(name), "6.6.6.6".parse().unwrap()))
        .into_iter()
        .collect();
        Forwarded::of(&headers, Some(&peer()), 0).set(&mut headers);
        assert_eq!(headers["forwarded"], "for=10.0.0.9;proto=http");
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "forwarded",
                "x-forwarded-for",
                "x-forwarded-port",
                "x-forwarded-proto"
            ]
        );
    }

    #[test]
    fn leaves_what_routers_say_besides() {
        let mut headers: HeaderMap = [
            "x-forwarded-user",
            "x_forwarded_user",
            "x-forwarded-ssl",
            "x-real-ip",
        ]
        .map(|name| (HeaderName::from_static(name), "ana".parse().unwrap()))
        .into_iter()
        .collect();
        Forwarded::of(&headers, None, 1).set(&mut headers);
        assert_eq!(headers["x-forwarded-user"], "ana");
        for gone in ["x_forwarded_user", "x-forwarded-ssl", "x-real-ip"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn falls_back_to_what_it_sees() {
        let bare = told(&[("host", "a.example")], 1);
        assert_eq!(bare, ["10.0.0.9", "http", "a.example", "80"]);
        let odd = [
            ("host", "a"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-port", "x"),
        ];
        assert_eq!(told(&odd, 1), ["10.0.0.9", "http", "a", "80"]);
    }
}
