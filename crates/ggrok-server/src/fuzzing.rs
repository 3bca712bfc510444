//! What the fuzz targets run. Their corpora are replayed by a plain test.

mod relay;

use std::net::IpAddr;

use http::header::{CONNECTION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Request, Uri};

pub use self::relay::relay;
use crate::forwarded::Forwarded;
use crate::host::Host;
use crate::peer::Peer;
use crate::request_id::RequestId;
use crate::visitor;
use crate::{Access, Config, call};

/// A request that is admitted is routed by the very host that the app sees, and goes on without the
/// fields of one hop, in a form that is admitted again.
pub fn route(data: &[u8]) {
    let Some(mut request) = request(data) else {
        return;
    };
    let Ok(host) = visitor::admit(&mut request, HEAD_LIMIT) else {
        return;
    };
    let asked = request.headers().get_all(HOST).iter().count();
    assert_eq!(asked, 1, "there is one Host");
    assert_eq!(Host::of(request.uri(), request.headers()), Ok(host.clone()));
    assert_eq!(host.as_str().parse(), Ok(host.clone()), "read and written");
    assert_eq!(host.as_str(), host.as_str().to_ascii_lowercase());
    assert_in_origin_form(request.uri());

    let named = HeaderValue::from_static("x-forwarded-for, forwarded, via, host, x-request-id");
    request.headers_mut().append(CONNECTION, named);
    let config = Config::new(Access::open(), 0);
    let id = RequestId::of(request.headers());
    let peer = peer("192.0.2.1");
    let head = call::head(&mut request, Some(&peer), id, &config);
    assert_in_origin_form(&head.uri);
    assert_eq!(Host::of(&head.uri, &head.headers), Ok(host));
    assert_eq!(only(&head.headers, "x-forwarded-for"), Some("192.0.2.1"));
    assert!(only(&head.headers, "x-request-id").is_some());
    assert!(config.pseudonym.has_signed(&head.headers));
    for name in ["keep-alive", "transfer-encoding", "proxy-authorization"] {
        assert!(!head.headers.contains_key(name), "{name} went on");
    }
    let upgrades = head.headers.contains_key(UPGRADE);
    assert_eq!(head.headers.contains_key(CONNECTION), upgrades);
}

fn peer(address: &str) -> Peer {
    let address: IpAddr = address.parse().expect("it is an address");
    address.into()
}

const HEAD_LIMIT: usize = 64 << 10;

fn assert_in_origin_form(uri: &Uri) {
    assert!(uri.authority().is_none() && uri.scheme().is_none(), "{uri}");
    assert!(uri.path().starts_with('/') || uri.path() == "*", "{uri}");
}

/// Without trusted hops a visitor is what the relay saw; with some, it is a list of addresses. Either
/// way there is one field of each name, and none that an app may take for one.
pub fn forwarded(data: &[u8]) {
    let (&hops, lines) = data.split_first().unwrap_or((&0, &[]));
    let hops = usize::from(hops % 4);
    let mut headers = fields(lines);
    let peer = peer("2001:db8::7");
    Forwarded::of(&headers, Some(&peer), hops).set(&mut headers);

    let seen = only(&headers, "x-forwarded-for").expect("the peer is known");
    let entries: Vec<&str> = seen.split(", ").collect();
    if hops == 0 {
        assert_eq!(entries, ["2001:db8::7"]);
        assert_eq!(only(&headers, "x-forwarded-proto"), Some("http"));
    }
    assert!(entries.len() <= hops.max(1), "{seen:?}");
    for entry in &entries {
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        let is_address = bare.parse::<IpAddr>().is_ok();
        let has_port = entry.parse::<std::net::SocketAddr>().is_ok();
        assert!(is_address || has_port, "{entry:?}");
    }
    let proto = only(&headers, "x-forwarded-proto");
    assert!(matches!(proto, Some("http" | "https")));
    let port = only(&headers, "x-forwarded-port").map(str::parse::<u16>);
    assert!(matches!(port, Some(Ok(_))));
    let standard = only(&headers, FORWARDED.as_str()).expect("it is set");
    assert_eq!(members(standard), entries.len(), "{standard:?} of {seen:?}");
    for name in headers.keys().map(HeaderName::as_str) {
        let is_ours = name.replace('_', "-").starts_with("x-forwarded-");
        assert!(!(is_ours && name.contains('_')), "{name} went on");
    }
}

/// How many members a Forwarded field has for a reader that knows quotes.
fn members(field: &str) -> usize {
    let (mut members, mut quoted, mut escaped) = (1, false, false);
    for letter in field.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => members += 1,
            _ => {}
        }
    }
    assert!(!quoted, "{field:?}");
    members
}

/// The value of a field that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok();
    assert!(values.next().is_none(), "{name} is there twice");
    value
}

/// A request of one line for method and target, and one for each field.
fn request(data: &[u8]) -> Option<Request<()>> {
    let (line, lines) = split(data, b'\n');
    let (method, target) = split(line, b' ');
    let mut request = Request::new(());
    *request.method_mut() = method.try_into().ok()?;
    *request.uri_mut() = target.try_into().ok()?;
    *request.headers_mut() = fields(lines);
    Some(request)
}

fn fields(lines: &[u8]) -> HeaderMap {
    let lines = lines.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| {
            let (name, value) = split(line, b':');
            let name = HeaderName::from_bytes(name).ok()?;
            Some((name, HeaderValue::from_bytes(value.trim_ascii()).ok()?))
        })
        .collect()
}

/// What is before the first such byte, and what is behind it.
fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == at);
    let end = end.unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    fn replay(target: &str, run: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut files = 0;
        for file in fs::read_dir(corpus).unwrap() {
            run(&fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 0, "{target} has no corpus");
    }

    #[test]
    fn replays_the_corpus_of_routes() {
        replay("route", super::route);
    }

    #[test]
    fn replays_the_corpus_of_forwarded_fields() {
        replay("forwarded", super::forwarded);
    }

    #[test]
    fn replays_the_corpus_of_relays() {
        replay("relay", super::relay);
    }
}
