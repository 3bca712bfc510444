//! The host that a request is for: the one key by which calls are routed.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, Uri};

use crate::MirrorName;

/// A host name or address, in lower case, without port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(Arc<str>);

/// There is no host, more than one, or none that could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid host")]
pub struct BadHost;

impl Host {
    /// Reads the host of a request: the authority of its target where it has one, else its one
    /// Host field (RFC 9112, section 3.2).
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Result<Self, BadHost> {
        let mut fields = headers.get_all(HOST).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(BadHost);
        };
        match uri.authority() {
            Some(authority) => Self::parse(authority.as_str()),
            None => Self::parse(field.to_str().map_err(|_| BadHost)?),
        }
    }

    fn parse(authority: &str) -> Result<Self, BadHost> {
        let (name, port) = split_port(authority).ok_or(BadHost)?;
        // RFC 3986, section 3.2.3 allows an empty port.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        if !(digits && (port.is_empty() || port.parse::<u16>().is_ok())) {
            return Err(BadHost);
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        if !(is_name(name) || is_ipv6(name)) {
            return Err(BadHost);
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(name.to_ascii_lowercase().into()));
        }
        Ok(Self(name.into()))
    }

    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host of a name in this domain.
    pub(crate) fn of_name(&self, name: &MirrorName) -> Result<Self, BadHost> {
        Self::parse(&format!("{name}.{self}"))
    }

    /// Whether people take a host of this domain for the domain's own, as they do `www`, or cannot tell
    /// it from another, as with names in other scripts.
    pub(crate) fn reserves(&self, host: &Self) -> bool {
        let name = host.name_in(self);
        name.is_some_and(|name| name.split('.').any(is_reserved))
    }

    /// What precedes a domain in the host, where it is below that.
    pub(crate) fn name_in(&self, domain: &Self) -> Option<&str> {
        self.0.strip_suffix(domain.as_str())?.strip_suffix('.')
    }

    /// Whether the host is below another.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.name_in(other).is_some()
    }

    /// Whether the host is below another, with no domain at or between them whose hosts are many owners'.
    pub(crate) fn is_beneath(&self, other: &Self, domain: Option<&Self>) -> bool {
        let is_shared = domain.is_some_and(|domain| {
            (self == domain || self.is_below(domain)) && (domain == other || domain.is_below(other))
        });
        self.is_below(other) && !is_shared
    }

    /// Whether it is an address, or this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_ipv6(&self.0) || self.0.parse::<Ipv4Addr>().is_ok() || &*self.0 == "localhost"
    }

    /// The hosts above it, the nearest first; none above an address.
    pub(crate) fn parents(&self) -> impl Iterator<Item = Self> {
        let is_address = is_ipv6(&self.0) || self.0.parse::<Ipv4Addr>().is_ok();
        let dots = self.0.match_indices('.').filter(move |_| !is_address);
        dots.map(|(dot, _)| Self(self.0[dot + 1..].into()))
    }

    /// The labels in reverse order, so that in an ordered set a host is followed by those below it.
    pub(crate) fn reversed(&self) -> String {
        let labels: Vec<&str> = self.0.rsplit('.').collect();
        labels.join(".")
    }

    /// The host with these labels in reverse order.
    pub(crate) fn of_reversed(reversed: &str) -> Option<Self> {
        let labels: Vec<&str> = reversed.rsplit('.').collect();
        labels.join(".").parse().ok()
    }
}

fn is_reserved(label: &str) -> bool {
    let is_numbered = |kind: &str| {
        let digits = label.strip_prefix(kind);
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    RESERVED.contains(&label)
        || label.starts_with('_')
        || label.starts_with("xn--")
        || is_numbered("ns")
        || is_numbered("mx")
}

/// Names that programs look for services by, that people take for the operator's, and the mailboxes of
/// RFC 2142, to which certificates are issued.
const RESERVED: &[&str] = &[
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "api",
    "auth",
    "autoconfig",
    "autodiscover",
    "billing",
    "cdn",
    "dashboard",
    "dns",
    "ftp",
    "help",
    "hostmaster",
    "imap",
    "info",
    "isatap",
    "localhost",
    "login",
    "mail",
    "marketing",
    "mta-sts",
    "mx",
    "news",
    "noc",
    "ns",
    "oauth",
    "pay",
    "payment",
    "pop",
    "pop3",
    "postmaster",
    "relay",
    "root",
    "sales",
    "secure",
    "security",
    "signin",
    "smtp",
    "ssl",
    "sso",
    "status",
    "support",
    "usenet",
    "uucp",
    "vpn",
    "webmail",
    "webmaster",
    "wpad",
    "www",
];

/// Reads a host, with or without a port.
impl FromStr for Host {
    type Err = BadHost;

    fn from_str(host: &str) -> Result<Self, BadHost> {
        Self::parse(host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn split_port(authority: &str) -> Option<(&str, &str)> {
    let end = authority.find(']').map_or(0, |bracket| bracket + 1);
    match authority[end..].split_once(':') {
        Some((rest, port)) => Some((&authority[..end + rest.len()], port)),
        None => Some((authority, "")),
    }
    .filter(|(name, _)| end == 0 || name.len() == end)
}

/// A name of the DNS, or an IPv4 address. Underscores are no part of host names, and are used.
fn is_name(name: &str) -> bool {
    let is_label = |label: &[u8]| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.iter().all(allowed)
    };
    name.len() <= 253 && name.as_bytes().split(|byte| *byte == b'.').all(is_label)
}

fn is_ipv6(name: &str) -> bool {
    let inner = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    inner.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::{BadHost, Host};
    use http::header::HOST;
    use http::{HeaderMap, HeaderValue, Uri};

    fn host(target: &str, fields: &[&[u8]]) -> Result<String, BadHost> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(HOST, HeaderValue::from_bytes(field).unwrap());
        }
        let uri: Uri = target.parse().unwrap();
        Host::of(&uri, &headers).map(|host| host.to_string())
    }

    #[test]
    fn knows_one_host_by_all_its_spellings() {
        for spelling in [
            "a.example",
            "A.Example",
            "a.example.",
            "a.example:80",
            "A.EXAMPLE.:443",
            "a.example:",
        ] {
            assert_eq!(host("/", &[spelling.as_bytes()]).unwrap(), "a.example");
        }
        assert_eq!(host("/", &[b"127.0.0.1:8080"]).unwrap(), "127.0.0.1");
        assert_eq!(host("/", &[b"[::1]:8080"]).unwrap(), "[::1]");
        assert_eq!(host("/", &[b"my_app.example"]).unwrap(), "my_app.example");
    }

    #[test]
    fn takes_the_authority_of_an_absolute_target() {
        assert_eq!(
            host("http://b.example/x", &[b"a.example"]).unwrap(),
            "b.example"
        );
        assert_eq!(host("http://u@b.example/x", &[b"a.example"]), Err(BadHost));
    }

    #[test]
    fn refuses_no_host_two_hosts_and_what_is_none() {
        assert_eq!(host("/", &[]), Err(BadHost));
        assert_eq!(host("/", &[b"a.example", b"a.example"]), Err(BadHost));
        for bad in [
            "", " ", ".", ":80", "a,b", "a b", "u@a", "a/x", "a:99999", "a:8x", "a:1:2", "a..b",
            "[::1", "[::g]", "[::1]x", "x[::1]", "::1", "a%41", "a\\b", "-\u{e9}", "a?b", "a#b",
            "<script>",
        ] {
            assert_eq!(host("/", &[bad.as_bytes()]), Err(BadHost), "{bad}");
        }
        assert_eq!(host("/", &[b"a\xff"]), Err(BadHost));
        assert_eq!(host("/", &["a".repeat(64).as_bytes()]), Err(BadHost));
        assert_eq!(
            host("/", &["a.".repeat(127).as_bytes()]).unwrap().len(),
            253
        );
        assert_eq!(host("/", &["a.".repeat(128).as_bytes()]), Err(BadHost));
    }
}
