//! Fields in which apps look for the path of a request, in the place of its target.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Uri, uri};

use crate::field_name::words;

/// Removes fields in which some apps look for the path of a request. The words of a name decide, since
/// each server, proxy and framework has names of its own for it.
///
/// `Destination` (RFC 4918, section 10.3) stays where it names a path that `is_allowed`: WebDAV copies
/// and moves to it.
pub(super) fn remove(headers: &mut HeaderMap, is_allowed: impl Fn(&str) -> bool) {
    let destinations = headers.get_all(DESTINATION).iter();
    let stays = destinations
        .map(path)
        .all(|path| path.is_some_and(|path| is_allowed(path.path())));
    let is_removed = |name: &&HeaderName| match name.as_str() {
        "destination" => !stays,
        name => is_path_field(name),
    };
    let names: Vec<HeaderName> = headers.keys().filter(is_removed).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

const DESTINATION: HeaderName = HeaderName::from_static("destination");

fn path(destination: &HeaderValue) -> Option<PathAndQuery> {
    let uri::Parts { path_and_query, .. } =
        Uri::try_from(destination.as_bytes()).ok()?.into_parts();
    path_and_query
}

/// Whether a field may be about the path of a request.
pub(crate) fn is_path_field(name: &str) -> bool {
    if ORDINARY.iter().any(|start| name.starts_with(start)) || name == "next-url" {
        return false;
    }
    words(name).any(is_path_word) || FAMILIES.iter().any(|family| name.starts_with(family))
}

fn is_path_word(word: &[u8]) -> bool {
    let is_known = matches!(
        word,
        b"base"
            | b"destination"
            | b"original"
            | b"prefix"
            | b"rewrite"
            | b"rewritten"
            | b"route"
            | b"routes"
            | b"script"
    );
    is_known
        || ENDS.iter().any(|end| word.ends_with(end))
        || STARTS.iter().any(|start| word.starts_with(start))
}

const ENDS: [&[u8]; 3] = [b"path", b"url", b"uri"];

const STARTS: [&[u8]; 5] = [b"path", b"url", b"uri", b"destination", b"sendfile"];

/// Fields that frameworks and reverse proxies send to themselves.
const FAMILIES: [&str; 3] = ["x-accel-", "x-invoke-", "x-middleware-"];

/// Fields of browsers, of libraries in pages and of senders of webhooks. They may name a URL, and no app
/// routes by them.
const ORDINARY: [&str; 8] = [
    "access-control-",
    "ce-",
    "hx-",
    "sec-",
    "x-amz-",
    "x-github-",
    "x-gitlab-",
    "x-goog-",
];

#[cfg(test)]
mod tests {
    use super::{is_path_field, remove};
    use http::HeaderMap;

    #[test]
    fn are_known_by_their_words() {
        for name in [
            "x-original-url",
            "x-rewrite-url",
            "x-rewrite-uri",
            "x-forwarded-uri",
            "x-forwarded-prefix",
            "x-forwarded-base",
            "x-envoy-original-path",
            "x-override-url",
            "script-name",
            "path-info",
            "x-script-name",
            "x-original-path",
            "x-invoke-path",
            "x-invoke-query",
            "x-matched-path",
            "x-middleware-rewrite",
            "x-middleware-subrequest",
            "x-ms-original-url",
            "x-replaced-path",
            "request-uri",
            "x-proxy-url",
            "x-real-uri",
            "unencoded-url",
            "x-waws-unencoded-url",
            "base-url",
            "x-webdav-destination",
            "x-http-destinationurl",
            "x-accel-redirect",
            "x-sendfile-type",
            "x-now-route-matches",
            "x-pathinfo",
            "x.original.url",
            "url",
            "path",
        ] {
            assert!(is_path_field(name), "{name}");
        }
    }

    #[test]
    fn are_nothing_that_apps_need() {
        for name in [
            "referer",
            "origin",
            "host",
            "content-location",
            "x-http-method-override",
            "hx-current-url",
            "next-url",
            "x-goog-resource-uri",
            "x-github-event",
            "x-amz-target",
            "x-forwarded-for",
            "x-request-id",
            "link",
            "soapaction",
            "cookie",
            "if",
        ] {
            assert!(!is_path_field(name), "{name}");
        }
    }

    #[test]
    fn a_destination_stays_where_the_path_is_allowed() {
        for (destination, stays) in [
            ("https://a.example/dav/b", true),
            ("/dav/b", true),
            ("https://a.example/admin", false),
            ("https://a.example", false),
            ("/admin", false),
            ("b", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("destination", destination.parse().unwrap());
            remove(&mut headers, |path| path.starts_with("/dav/"));
            assert_eq!(headers.contains_key("destination"), stays, "{destination}");
        }
        let mut two = HeaderMap::new();
        two.append("destination", "/dav/b".parse().unwrap());
        two.append("destination", "/admin".parse().unwrap());
        remove(&mut two, |path| path.starts_with("/dav/"));
        assert!(two.is_empty());
    }
}
