//! The app's own origin in requests, in the place of the public one, and the public one in responses.

mod url;

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue, ORIGIN, REFERER};

use self::url::{Scheme, Site, Url, places};
use crate::{Config, HostHeader};

/// What an app takes itself for, where that is not what its visitors see.
pub(crate) struct OwnOrigin {
    /// Its Host.
    host: HeaderValue,
    /// By what it may call itself in responses.
    sites: Vec<Site>,
    /// How visitors come to a relay that does not say.
    visitors_come_by: Scheme,
}

/// Where the visitor of a request sees the app.
pub(crate) struct PublicOrigin {
    scheme: Scheme,
    /// The Host as the visitor sent it.
    host: HeaderValue,
    site: Site,
    /// The request's Origin, where it was this.
    asked_by: Option<HeaderValue>,
}

impl OwnOrigin {
    /// The origin that the app is to believe in; none where it is told the public one.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let address = config.upstream.authority();
        // As a browser would write it.
        let address = address.strip_suffix(":80").unwrap_or(address);
        let told = match &config.host_header {
            HostHeader::Preserve => return None,
            HostHeader::Rewrite => address,
            HostHeader::Fixed(host) => host.as_str(),
        };
        let host = HeaderValue::from_str(told).expect("an authority is a valid value");
        let address = Site::parse(address).expect("an authority without a user");
        let told = Site::parse(told).expect("an authority without a user");
        let loopbacks = LOOPBACKS.map(|host| Site {
            host: host.to_owned(),
            port: address.port,
        });
        Some(Self {
            host,
            sites: [told, address].into_iter().chain(loopbacks).collect(),
            visitors_come_by: Scheme::parse(config.relay.scheme()).expect("http or https"),
        })
    }

    /// Tells the app its own origin in a request's fields, and returns the public one that stood
    /// there. Other origins stay as they are, so that the app can refuse them.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) -> Option<PublicOrigin> {
        // The request of somebody who calls a mirror by the relay's API has none.
        let host = headers.insert(HOST, self.host.clone())?;
        let mut public = PublicOrigin {
            scheme: forwarded_scheme(headers).unwrap_or(self.visitors_come_by),
            site: Site::parse(host.to_str().ok()?)?,
            host,
            asked_by: None,
        };
        if let Some(own) = self.own_url(&public, headers.get(ORIGIN)) {
            public.asked_by = headers.insert(ORIGIN, own);
        }
        if public.asked_by.is_some() {
            // The app's own origin is by http, and an app that goes by this field compares the two.
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
        }
        for name in [REFERER, DESTINATION] {
            if let Some(own) = self.own_url(&public, headers.get(&name)) {
                headers.insert(name, own);
            }
        }
        if let Some(field) = headers.get_mut(IF)
            && let Some(own) = self.own_tags(&public, field.as_bytes())
        {
            *field = own;
        }
        Some(public)
    }

    /// An If field (RFC 4918, section 10.4) whose tags are at the app's own origin.
    fn own_tags(&self, public: &PublicOrigin, field: &[u8]) -> Option<HeaderValue> {
        let (mut told, mut copied) = (Vec::new(), 0);
        for place in places("link", field) {
            let url = value(&field[place.clone()]);
            if let Some(own) = self.own_url(public, Some(&url)) {
                told.extend_from_slice(&field[copied..place.start]);
                told.extend_from_slice(own.as_bytes());
                copied = place.end;
            }
        }
        told.extend_from_slice(&field[copied..]);
        (copied > 0).then(|| value(&told))
    }

    /// A URL at the public origin, as one at the app's own.
    fn own_url(&self, public: &PublicOrigin, url: Option<&HeaderValue>) -> Option<HeaderValue> {
        let url = Url::parse(url?.as_bytes())?;
        let is_public =
            url.scheme == Some(public.scheme) && url.site.is(&public.site, public.scheme);
        is_public.then(|| value(&[b"http://", self.host.as_bytes(), url.rest].concat()))
    }

    /// Puts the public origin into a response's fields, wherever the app named its own.
    pub(crate) fn show(&self, public: &PublicOrigin, headers: &mut HeaderMap) {
        for (name, field) in headers.iter_mut() {
            let bytes = field.as_bytes();
            let shown = match name.as_str() {
                "set-cookie" => Some(self.public_cookie(public, bytes)),
                "access-control-allow-origin" => self.allowed_origin(public, bytes),
                name => self.public_urls(public, name, bytes),
            };
            if let Some(shown) = shown {
                *field = shown;
            }
        }
    }

    /// The URLs of a field, as visitors reach them.
    fn public_urls(&self, public: &PublicOrigin, name: &str, field: &[u8]) -> Option<HeaderValue> {
        let mut shown = Vec::new();
        let mut copied = 0;
        for place in places(name, field) {
            let Some(url) = self.parse(public, &field[place.clone()]) else {
                continue;
            };
            shown.extend_from_slice(&field[copied..place.start]);
            if url.scheme.is_some() {
                shown.extend_from_slice(public.scheme.name().as_bytes());
                shown.push(b':');
            }
            shown.extend_from_slice(b"//");
            shown.extend_from_slice(public.host.as_bytes());
            copied = place.end - url.rest.len();
        }
        shown.extend_from_slice(&field[copied..]);
        (copied > 0).then(|| value(&shown))
    }

    /// A URL that the app takes for its own.
    fn parse<'a>(&self, public: &PublicOrigin, url: &'a [u8]) -> Option<Url<'a>> {
        let url = Url::parse(url)?;
        let scheme = url.scheme.unwrap_or(public.scheme);
        let is_own = self.sites.iter().any(|own| own.is(&url.site, scheme));
        is_own.then_some(url)
    }

    /// The answer to the visitor's Origin, where the app answered the one that it was told.
    fn allowed_origin(&self, public: &PublicOrigin, allowed: &[u8]) -> Option<HeaderValue> {
        let allowed = self.parse(public, allowed)?;
        public.asked_by.clone().filter(|_| allowed.rest.is_empty())
    }

    /// A cookie without a domain in which visitors are not: then it is the public host's.
    fn public_cookie(&self, public: &PublicOrigin, cookie: &[u8]) -> HeaderValue {
        let is_elsewhere = |domain: &str| {
            let is_public = domain.contains('.') && public.site.is_within(domain);
            !is_public && self.sites.iter().any(|own| own.is_within(domain))
        };
        let mut parts = cookie.split(|byte| *byte == b';');
        // The first is the cookie itself, whatever its name.
        let mut kept: Vec<_> = parts.next().into_iter().collect();
        kept.extend(parts.filter(|part| !domain(part).is_some_and(|domain| is_elsewhere(&domain))));
        value(&kept.join(&b';'))
    }
}

/// The scheme by which the visitor came, as the relay says.
fn forwarded_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let schemes = headers.get(FORWARDED_PROTO)?.to_str().ok()?;
    Scheme::parse(schemes.split(',').next()?.trim())
}

/// The domain of a Domain attribute, as a browser reads it (RFC 6265, section 5.2.3).
fn domain(attribute: &[u8]) -> Option<String> {
    let (name, domain) = str::from_utf8(attribute).ok()?.split_once('=')?;
    let domain = domain.trim().trim_matches(['[', ']']);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let is_domain = name.trim().eq_ignore_ascii_case("domain") && !domain.is_empty();
    is_domain.then(|| domain.to_ascii_lowercase())
}

fn value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("it is put together of valid values")
}

const DESTINATION: HeaderName = HeaderName::from_static("destination");

const IF: HeaderName = HeaderName::from_static("if");

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What an app calls the machine that it runs on.
const LOOPBACKS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

#[cfg(test)]
mod tests {
    use super::OwnOrigin;
    use crate::{Config, LocalAddress};
    use http::{HeaderMap, HeaderName, HeaderValue};

    const PUBLIC: &[(&str, &str)] = &[("host", "Blog.Example"), ("x-forwarded-proto", "https")];

    fn own(host_header: &str, local: &str) -> OwnOrigin {
        let local: LocalAddress = local.parse().unwrap();
        let mut config = Config::new("ws://relay.example".parse().unwrap(), local);
        config.host_header = host_header.parse().unwrap();
        OwnOrigin::of(&config).unwrap()
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn text(value: &HeaderValue) -> &str {
        str::from_utf8(value.as_bytes()).unwrap()
    }

    /// A field of a request as the app gets it.
    fn told(own: &OwnOrigin, public: &[(&str, &str)], name: &str, value: &str) -> String {
        let mut headers = map(public);
        headers.extend(map(&[(name, value)]));
        own.tell(&mut headers);
        text(&headers[name]).to_owned()
    }

    /// A field of a response as a visitor gets it, whose Origin was this.
    fn shown(
        own: &OwnOrigin,
        public: &[(&str, &str)],
        origin: &str,
        name: &str,
        value: &str,
    ) -> String {
        let mut request = map(public);
        request.extend(map(&[("origin", origin)]));
        let public = own.tell(&mut request).unwrap();
        let mut response = map(&[("x-other", "http://localhost:3000/"), (name, value)]);
        own.show(&public, &mut response);
        assert_eq!(response["x-other"], "http://localhost:3000/");
        text(&response[name]).to_owned()
    }

    #[test]
    fn tells_the_app_its_own_host() {
        for (host_header, local, host) in [
            ("rewrite", "3000", "localhost:3000"),
            ("rewrite", "80", "localhost"),
            ("rewrite", "http://nas.local", "nas.local"),
            ("rewrite", "[::1]:3000", "[::1]:3000"),
            ("App.Test", "3000", "App.Test"),
            ("app.test:8080", "3000", "app.test:8080"),
        ] {
            let own = own(host_header, local);
            for fields in [PUBLIC, &[("host", "a@b")], &[("host", "")], &[]] {
                let mut headers = map(fields);
                let public = own.tell(&mut headers);
                assert_eq!(public.is_some(), fields == PUBLIC);
                assert_eq!(headers["host"], host);
                assert_eq!(headers.len(), fields.len().max(1));
            }
        }
    }

    #[test]
    fn takes_the_public_origin_alone_for_the_apps_own() {
        let own = own("rewrite", "3000");
        for (value, expected) in [
            ("https://blog.example", "http://localhost:3000"),
            ("https://blog.example:443", "http://localhost:3000"),
            (
                "HTTPS://BLOG.example/a?b=https://blog.example/",
                "http://localhost:3000/a?b=https://blog.example/",
            ),
            (
                "https://blog.example/gr\u{fc}\u{df}e",
                "http://localhost:3000/gr\u{fc}\u{df}e",
            ),
        ] {
            assert_eq!(told(&own, PUBLIC, "origin", value), expected);
            assert_eq!(told(&own, PUBLIC, "referer", value), expected);
        }
        for value in [
            "null",
            "",
            "http://blog.example",
            "https://blog.example:8443",
            "https://blog.example.evil.example",
            "https://evil.example",
            "https://blog.example@evil.example/",
            "https://www.blog.example",
            "//blog.example",
            "http://localhost:3000",
            "wss://blog.example",
            "https://blog.example\\@evil.example",
        ] {
            assert_eq!(told(&own, PUBLIC, "origin", value), value);
            assert_eq!(told(&own, PUBLIC, "referer", value), value);
        }
        assert_eq!(
            told(&own, PUBLIC, "x-forwarded-host", "blog.example"),
            "blog.example"
        );
    }

    #[test]
    fn tells_webdav_its_own_resources() {
        let own = own("rewrite", "3000");
        for (name, value, expected) in [
            (
                "destination",
                "https://blog.example/b",
                "http://localhost:3000/b",
            ),
            (
                "destination",
                "https://evil.example/b",
                "https://evil.example/b",
            ),
            ("destination", "/b", "/b"),
            (
                "if",
                "<https://blog.example/a> (<urn:uuid:1> [\"x\"]) </b> (Not <DAV:no-lock>)",
                "<http://localhost:3000/a> (<urn:uuid:1> [\"x\"]) </b> (Not <DAV:no-lock>)",
            ),
        ] {
            assert_eq!(told(&own, PUBLIC, name, value), expected);
        }
    }

    #[test]
    fn tells_one_scheme_in_origin_and_x_forwarded_proto() {
        let own = own("rewrite", "3000");
        for (origin, proto) in [
            ("https://blog.example", "http"),
            ("https://a.example", "https"),
        ] {
            let mut headers = map(PUBLIC);
            headers.extend(map(&[("origin", origin)]));
            own.tell(&mut headers);
            assert_eq!(headers["x-forwarded-proto"], proto, "{origin}");
        }
    }

    #[test]
    fn knows_the_public_origin_by_host_and_forwarded_scheme() {
        let own = own("app.test", "3000");
        for (public, origin) in [
            (
                &[("host", "a.example:8443"), ("x-forwarded-proto", "https")][..],
                "https://a.example:8443",
            ),
            (
                &[
                    ("host", "a.example:443"),
                    ("x-forwarded-proto", "HTTPS, http"),
                ],
                "https://a.example",
            ),
            (
                &[("host", "a.example:80"), ("x-forwarded-proto", "http")],
                "http://a.example",
            ),
            (
                &[("host", "[2001:db8::1]:81"), ("x-forwarded-proto", "http")],
                "http://[2001:db8::1]:81",
            ),
            // How the relay itself is reached.
            (&[("host", "a.example")], "http://a.example"),
            (
                &[("host", "a.example"), ("x-forwarded-proto", "gopher")],
                "http://a.example",
            ),
        ] {
            assert_eq!(
                told(&own, public, "origin", origin),
                "http://app.test",
                "{public:?}"
            );
            assert_eq!(
                shown(
                    &own,
                    public,
                    origin,
                    "access-control-allow-origin",
                    "http://app.test"
                ),
                origin
            );
        }
    }

    #[test]
    fn shows_visitors_urls_that_they_reach() {
        let rewritten = own("rewrite", "3000");
        for (url, expected) in [
            ("http://localhost:3000", "https://Blog.Example"),
            ("http://LOCALHOST:3000/a?b#c", "https://Blog.Example/a?b#c"),
            (
                "https://127.0.0.1:3000/?u=http://localhost:3000/",
                "https://Blog.Example/?u=http://localhost:3000/",
            ),
            ("http://[::1]:3000?x", "https://Blog.Example?x"),
            ("//localhost:3000//x", "//Blog.Example//x"),
            (
                "http://localhost:3000/gr\u{fc}\u{df}e",
                "https://Blog.Example/gr\u{fc}\u{df}e",
            ),
        ] {
            for name in ["location", "content-location"] {
                assert_eq!(shown(&rewritten, PUBLIC, "null", name, url), expected);
            }
        }
        for url in [
            "",
            "/",
            "/a?u=http://localhost:3000/",
            "a/b",
            "?q",
            "../x",
            "//elsewhere.example/",
            "http://elsewhere.example:3000/",
            "http://localhost/",
            "http://localhost:30000/",
            "http://localhost:300/",
            "http://localhost.evil.example:3000/",
            "http://evil.localhost:3000/",
            "http://localhost:3000@evil.example/",
            "http://x@localhost:3000/",
            "http://localhost:3000\\.evil.example/",
            "https://blog.example/",
            "ws://localhost:3000/",
            "myapp://localhost:3000/",
            "http://127.0.0.2:3000/",
            "http://[::2]:3000/",
        ] {
            assert_eq!(shown(&rewritten, PUBLIC, "null", "location", url), url);
        }

        let fixed = own("app.test", "[::1]:3000");
        for (url, expected) in [
            ("http://app.test/", "https://Blog.Example/"),
            ("https://App.Test:443/", "https://Blog.Example/"),
            ("http://[::1]:3000/", "https://Blog.Example/"),
            ("http://localhost:3000/", "https://Blog.Example/"),
            ("http://app.test:3000/", "http://app.test:3000/"),
            ("http://www.app.test/", "http://www.app.test/"),
        ] {
            assert_eq!(shown(&fixed, PUBLIC, "null", "location", url), expected);
        }
        let on_80 = own("rewrite", "80");
        for url in [
            "http://localhost/",
            "http://127.0.0.1:80/",
            "https://localhost/",
            "//[::1]/",
        ] {
            let shown = shown(&on_80, PUBLIC, "null", "location", url);
            assert!(shown.ends_with("//Blog.Example/"), "{url}: {shown}");
        }
    }

    #[test]
    fn shows_urls_within_other_fields() {
        let own = own("rewrite", "3000");
        for (name, value, expected) in [
            (
                "refresh",
                "5; URL='http://localhost:3000'",
                "5; URL='https://Blog.Example'",
            ),
            ("refresh", "5; url=/a", "5; url=/a"),
            (
                "link",
                "<http://localhost:3000/2>; rel=next, </x>, <http://127.0.0.1:3000>; rel=\"a\", <http://b/>",
                "<https://Blog.Example/2>; rel=next, </x>, <https://Blog.Example>; rel=\"a\", <http://b/>",
            ),
        ] {
            assert_eq!(shown(&own, PUBLIC, "null", name, value), expected);
        }
    }

    #[test]
    fn allows_the_origin_that_asked() {
        let own = own("rewrite", "3000");
        let shown =
            |origin, allowed| shown(&own, PUBLIC, origin, "access-control-allow-origin", allowed);
        let app = "http://localhost:3000";
        assert_eq!(shown("https://blog.example", app), "https://blog.example");
        for allowed in ["*", "null", "http://localhost:5173", "https://blog.example"] {
            assert_eq!(shown("https://blog.example", allowed), allowed);
        }
        // The app was told this one, and it is not the public one.
        assert_eq!(shown(app, app), app);
    }

    #[test]
    fn gives_cookies_to_the_public_host() {
        let rewritten = own("rewrite", "3000");
        for (cookie, expected) in [
            (
                "a=1; Path=/; Domain=localhost; HttpOnly",
                "a=1; Path=/; HttpOnly",
            ),
            ("a=1;domain = .LocalHost", "a=1"),
            (
                "a=1; Domain=127.0.0.1; Domain=[::1]; Domain=localhost",
                "a=1",
            ),
            ("domain=localhost; Path=/", "domain=localhost; Path=/"),
            (
                "a=1; Domain=; Domain; Path=/",
                "a=1; Domain=; Domain; Path=/",
            ),
            ("a=\"x;Domain=blog.example\"", "a=\"x;Domain=blog.example\""),
            (
                "a=1; Domain=elsewhere.example",
                "a=1; Domain=elsewhere.example",
            ),
            (
                "a=gr\u{fc}n; Secure; SameSite=None",
                "a=gr\u{fc}n; Secure; SameSite=None",
            ),
            ("", ""),
        ] {
            assert_eq!(
                shown(&rewritten, PUBLIC, "null", "set-cookie", cookie),
                expected
            );
        }
        let fixed = own("app.shop.example:8080", "3000");
        for (cookie, expected) in [
            ("a=1; Domain=app.shop.example", "a=1"),
            ("a=1; Domain=.shop.example", "a=1"),
            ("a=1; Domain=hop.example", "a=1; Domain=hop.example"),
            ("a=1; Domain=localhost", "a=1"),
        ] {
            assert_eq!(
                shown(&fixed, PUBLIC, "null", "set-cookie", cookie),
                expected
            );
        }
        // One that visitors are in as well.
        let public = &[("host", "tunnel.shop.example:8443")];
        let cookie = "a=1; Domain=shop.example";
        assert_eq!(shown(&fixed, public, "null", "set-cookie", cookie), cookie);
    }

    #[test]
    fn keeps_several_cookies_apart_and_in_order() {
        let own = own("rewrite", "3000");
        let mut request = map(PUBLIC);
        let public = own.tell(&mut request).unwrap();
        let cookies = [
            "a=1; Domain=localhost",
            "b=2",
            "a=3; Domain=localhost; Path=/",
        ];
        let mut response = map(&cookies.map(|cookie| ("set-cookie", cookie)));
        own.show(&public, &mut response);
        let shown: Vec<_> = response.get_all("set-cookie").iter().map(text).collect();
        assert_eq!(shown, ["a=1", "b=2", "a=3; Path=/"]);
    }
}
