//! The starts of URLs in fields: where they stand, and where they lead.

use std::iter;
use std::ops::Range;
use std::str;

use http::uri::Authority;

/// How a URL is reached. Others than these two lead to no app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// A host in lower case, with its port where that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// An absolute URL, cut behind its authority.
#[derive(Debug)]
pub(super) struct Url<'a> {
    /// None where it is that of the page: `//host/path`.
    pub(super) scheme: Option<Scheme>,
    pub(super) site: Site,
    /// Path, query and fragment.
    pub(super) rest: &'a [u8],
}

impl Scheme {
    /// Reads a scheme without what stands behind it.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Site {
    /// Reads a host with or without a port, and nothing else: behind a user stands another host.
    pub(super) fn parse(authority: &str) -> Option<Self> {
        let authority: Authority = authority.parse().ok()?;
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host)? {
            "" | ":" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        Some(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Whether both are the same by a scheme, whose port need not be written.
    pub(super) fn is(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |site: &Self| site.port.unwrap_or_else(|| scheme.port());
        self.host == other.host && port(self) == port(other)
    }

    /// Whether a cookie of this domain is sent to the host (RFC 6265, section 5.1.3).
    pub(super) fn is_within(&self, domain: &str) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        let above = host.strip_suffix(domain);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }
}

impl<'a> Url<'a> {
    /// Reads the start of an absolute URL. What is relative, of another scheme or doubtful is none.
    pub(super) fn parse(url: &'a [u8]) -> Option<Self> {
        let start = url.windows(2).position(|two| two == b"//")?;
        let scheme = match &url[..start] {
            [] => None,
            [name @ .., b':'] => Some(Scheme::parse(str::from_utf8(name).ok()?)?),
            _ => return None,
        };
        let behind = &url[start + 2..];
        let is_end = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
        let end = behind.iter().position(is_end).unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        Some(Self {
            scheme,
            site: Site::parse(str::from_utf8(authority).ok()?)?,
            rest,
        })
    }
}

/// Where URLs stand in a field of a response.
pub(super) fn places(field: &str, value: &[u8]) -> Vec<Range<usize>> {
    match field {
        "location" | "content-location" => iter::once(0..value.len()).collect(),
        "refresh" => refresh(value).into_iter().collect(),
        "link" => links(value),
        _ => Vec::new(),
    }
}

/// Where the URL stands in a Refresh field: `5; url=/path`, with or without `url=` and quotes.
fn refresh(value: &[u8]) -> Option<Range<usize>> {
    let mut start = value.iter().position(|byte| matches!(byte, b';' | b','))? + 1;
    let skip_space = |at: usize| at + value[at..].len() - value[at..].trim_ascii_start().len();
    start = skip_space(start);
    let name = value[start..].get(..3);
    if name.is_some_and(|name| name.eq_ignore_ascii_case(b"url")) {
        let equals = skip_space(start + 3);
        if value.get(equals) == Some(&b'=') {
            start = skip_space(equals + 1);
        }
    }
    let quote = value.get(start).filter(|byte| matches!(byte, b'\'' | b'"'));
    start += usize::from(quote.is_some());
    let is_end = |byte: &u8| quote.is_some_and(|quote| byte == quote);
    let length = value[start..].iter().position(is_end);
    Some(start..length.map_or(value.len(), |length| start + length))
}

/// Where URLs stand in a Link field: in angle brackets (RFC 8288, section 3).
fn links(value: &[u8]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(open) = value[at..].iter().position(|byte| *byte == b'<') {
        let start = at + open + 1;
        let Some(length) = value[start..].iter().position(|byte| *byte == b'>') else {
            break;
        };
        at = start + length;
        places.push(start..at);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::{Scheme, Site, Url, places};

    #[test]
    fn reads_whom_a_url_leads_to() {
        let read = |url: &'static str| {
            let Url { scheme, site, rest } = Url::parse(url.as_bytes())?;
            let scheme = scheme.map_or("", Scheme::name);
            let rest = str::from_utf8(rest).unwrap();
            Some((scheme, site.host, site.port.unwrap_or(0), rest))
        };
        for (url, scheme, host, port, rest) in [
            (
                "http://localhost:3000/a?b#c",
                "http",
                "localhost",
                3000,
                "/a?b#c",
            ),
            ("HTTPS://LocalHost", "https", "localhost", 0, ""),
            ("http://localhost:?x", "http", "localhost", 0, "?x"),
            ("//[::1]:80#x", "", "[::1]", 80, "#x"),
            (
                "http://a.example/http://localhost:3000/",
                "http",
                "a.example",
                0,
                "/http://localhost:3000/",
            ),
        ] {
            assert_eq!(
                read(url),
                Some((scheme, host.to_owned(), port, rest)),
                "{url}"
            );
        }
        for url in [
            "",
            "/",
            "/a//localhost:3000",
            "a",
            "?//localhost",
            "ftp://localhost:3000",
            "localhost:3000",
            "http:/localhost:3000",
            "http:///localhost:3000",
            "http://localhost:3000@evil.example/",
            "http://u:p@localhost:3000/",
            "http://localhost@localhost:3000/",
            "http://localhost:99999/",
            "http://localhost:3000\\@evil.example",
            "http://localhost:3000 /",
            "http://[::1/",
            "x http://localhost:3000/",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }

    #[test]
    fn compares_ports_by_their_scheme() {
        let is = |one, other, scheme| {
            let (one, other) = (Site::parse(one).unwrap(), Site::parse(other).unwrap());
            one.is(&other, scheme)
        };
        assert!(is("a", "A:80", Scheme::Http) && is("a:443", "a", Scheme::Https));
        assert!(!is("a", "a:80", Scheme::Https) && !is("a:300", "a:3000", Scheme::Http));
        assert!(!is("a.example", "b.a.example", Scheme::Http));
    }

    #[test]
    fn finds_urls_in_fields() {
        for (field, value, found) in [
            ("location", "/a", &["/a"][..]),
            ("refresh", "5", &[]),
            ("refresh", "5;", &[""]),
            ("refresh", "5; url=http://a/", &["http://a/"]),
            ("refresh", "0,URL = 'http://a/;b' x", &["http://a/;b"]),
            ("refresh", "0; \"http://a/\"", &["http://a/"]),
            ("refresh", "0; http://a/", &["http://a/"]),
            ("refresh", "0; url", &["url"]),
            (
                "link",
                "<http://a/>; rel=next, </b>;rel=\"x\", <c",
                &["http://a/", "/b"],
            ),
            ("x-url", "http://a/", &[]),
        ] {
            let places = places(field, value.as_bytes()).into_iter();
            let urls: Vec<_> = places.map(|place| &value[place]).collect();
            assert_eq!(urls, found, "{field}: {value}");
        }
    }
}
