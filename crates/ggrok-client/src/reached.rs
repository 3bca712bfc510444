//! Where visitors reach a tunnel, by what the relay says in its answer to the handshake.

use ggrok_protocol::ADDRESS_HEADER;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri};

use crate::{Claim, Config, ConnectError, RelayAddress};

/// The URL where visitors reach what was claimed. A relay that does not tell is one of the
/// originals, or ours from before it could.
pub(crate) fn url(config: &Config, answer: &HeaderMap) -> Result<String, ConnectError> {
    let relay = &config.relay;
    let told = answer.get(ADDRESS_HEADER);
    if let Some(url) = told.and_then(|reference| resolve(relay, reference.to_str().ok()?)) {
        return Ok(url);
    }
    match &config.claim {
        Claim::Host => Ok(relay.public_url()),
        Claim::OtherHost(host) => Err(ConnectError::OwnHostAlone(host.clone())),
        Claim::Mirror(mirror) => Ok(format!("{relay}{}", mirror.shown())),
    }
}

/// Whether a name was to have visitors, and the relay gave it no host but a place in its API alone.
pub(crate) fn lacks_visitors(claim: &Claim, answer: &HeaderMap) -> bool {
    let told = answer.get(ADDRESS_HEADER);
    let has_host = told.is_some_and(|reference| reference.as_bytes().starts_with(b"//"));
    matches!(claim, Claim::Mirror(mirror) if mirror.public) && !has_host
}

/// Resolves a reference at the relay's own address; none where it is of another form.
pub(crate) fn resolve(relay: &RelayAddress, reference: &str) -> Option<String> {
    if reference.starts_with("//") {
        let uri: Uri = format!("{}:{reference}", relay.scheme()).parse().ok()?;
        let host = with_port(uri.authority()?, relay.port())?;
        let path = uri.path_and_query()?;
        return Some(format!("{}://{host}{}", relay.scheme(), shown(path)));
    }
    let path: PathAndQuery = reference.parse().ok()?;
    let is_path = reference.starts_with('/');
    is_path.then(|| format!("{}{}", relay.public_url(), shown(&path)))
}

/// A host with its own port, or else with the one that the client dialled and had to write out.
fn with_port(authority: &Authority, dialled: Option<u16>) -> Option<String> {
    let host = authority.host();
    if host.is_empty() || authority.as_str().contains('@') {
        return None;
    }
    let port = authority.port_u16().or(dialled);
    Some(port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// A path as people write it: none where it is the root.
fn shown(path: &PathAndQuery) -> &str {
    match path.as_str() {
        "/" => "",
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::{ADDRESS_HEADER, url};
    use crate::{Claim, Config, ConnectError, LocalAddress, Mirror, RemoteAddress};
    use http::{HeaderMap, HeaderValue};

    fn shown(relay: &str, claim: Claim, told: Option<&[u8]>) -> Result<String, ConnectError> {
        let mut config = Config::new(relay.parse().unwrap(), LocalAddress::port(1));
        config.claim = claim;
        let mut answer = HeaderMap::new();
        if let Some(told) = told {
            answer.insert(ADDRESS_HEADER, HeaderValue::from_bytes(told).unwrap());
        }
        url(&config, &answer)
    }

    #[test]
    fn resolves_what_the_relay_says_at_its_own_address() {
        for (relay, told, resolved) in [
            ("a.example", "//blog.a.example/", "https://blog.a.example"),
            (
                "a.example",
                "//blog.a.example:444/x?y",
                "https://blog.a.example:444/x?y",
            ),
            (
                "a.example:8443",
                "//blog.a.example/",
                "https://blog.a.example:8443",
            ),
            (
                "localhost:80",
                "//blog.localhost",
                "http://blog.localhost:80",
            ),
            (
                "a.example",
                "/_ggrok/mirrors/blog/",
                "https://a.example/_ggrok/mirrors/blog/",
            ),
            (
                "ws://a.example:81",
                "/_ggrok/mirrors/blog/",
                "http://a.example:81/_ggrok/mirrors/blog/",
            ),
            ("[::1]:81", "/", "http://[::1]:81"),
        ] {
            let claim = Claim::Mirror(Mirror::new("blog".parse().unwrap()));
            let url = shown(relay, claim, Some(told.as_bytes())).unwrap();
            assert_eq!(url, resolved, "{relay} {told}");
        }
    }

    #[test]
    fn ignores_what_is_no_such_reference() {
        for told in [
            &b""[..],
            b"blog",
            b"*",
            b"?x",
            b"https://evil.example/",
            b"javascript:alert(1)",
            b"//",
            b"///path",
            b"//user@evil.example/",
            b"//a b/",
            b"//a\t/",
            b"/a b",
            b"/\x9b31m",
            "//blög.example/".as_bytes(),
        ] {
            let url = shown("a.example", Claim::Host, Some(told)).unwrap();
            assert_eq!(url, "https://a.example", "{:?}", told.escape_ascii());
        }
    }

    #[test]
    fn knows_what_a_relay_serves_that_says_nothing() {
        let url = shown("a.example:81", Claim::Host, None).unwrap();
        assert_eq!(url, "https://a.example:81");

        let remote: RemoteAddress = "wss://a.example/mirror?secret=1".parse().unwrap();
        let mirror = Claim::Mirror(remote.mirror("blog".parse().unwrap()));
        let url = shown("a.example", mirror, None).unwrap();
        assert_eq!(url, "wss://a.example/mirror?name=blog");

        let other = Claim::OtherHost("app.example".parse().unwrap());
        let error = shown("a.example", other, None).unwrap_err();
        assert!(matches!(error, ConnectError::OwnHostAlone(_)) && error.is_final(true));
        assert!(error.to_string().contains("app.example"), "{error}");
    }
}
