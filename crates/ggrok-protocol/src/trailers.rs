//! Which fields may not come behind a body.

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, COOKIE, DATE, EXPECT, EXPIRES, FORWARDED, HOST,
    HeaderMap, HeaderName, LOCATION, MAX_FORWARDS, PRAGMA, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    RANGE, RETRY_AFTER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA, WARNING,
    WWW_AUTHENTICATE,
};

use crate::{ERROR_HEADER, REQUEST_ID, TOKEN_HEADER};

/// Removes from trailers what frames, routes, controls or authenticates a message, says how to take
/// its content, or concerns one hop (RFC 9110, section 6.5.1), and what only ggrok says. A program
/// that merges trailers into the header would believe it.
pub(crate) fn remove_forbidden(trailers: &mut HeaderMap) {
    let forbidden = trailers.keys().filter(|name| is_forbidden(name.as_str()));
    let forbidden: Vec<HeaderName> = forbidden.cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn is_forbidden(name: &str) -> bool {
    if name.contains('_') {
        // CGI and its heirs make no difference.
        return is_forbidden(&name.replace('_', "-"));
    }
    // The digest of a content is known behind it alone (RFC 9530, section 2).
    FORBIDDEN.iter().any(|forbidden| forbidden == name)
        || FAMILIES.iter().any(|family| name.starts_with(family)) && name != "content-digest"
}

/// Conditions, descriptions of the content, and what a relay says of its visitor.
const FAMILIES: [&str; 3] = ["if-", "content-", "x-forwarded-"];

const FORBIDDEN: [HeaderName; 32] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    COOKIE,
    DATE,
    ERROR_HEADER,
    EXPECT,
    EXPIRES,
    FORWARDED,
    HOST,
    HeaderName::from_static("keep-alive"),
    LOCATION,
    MAX_FORWARDS,
    PRAGMA,
    HeaderName::from_static("proxy"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    RANGE,
    REQUEST_ID,
    RETRY_AFTER,
    SET_COOKIE,
    TE,
    TOKEN_HEADER,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VARY,
    VIA,
    WARNING,
    WWW_AUTHENTICATE,
];

#[cfg(test)]
mod tests {
    use super::remove_forbidden;
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn leaves_what_may_come_behind_a_body() {
        let names = [
            "grpc-status",
            "grpc_status",
            "etag",
            "content-digest",
            "x-sum",
            "host",
            "authorization",
            "content-length",
            "content_type",
            "transfer-encoding",
            "if-none-match",
            "set-cookie",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-request-id",
            "x_ggrok_token",
            "proxy",
        ];
        let fields = names.map(|name| (HeaderName::from_static(name), HeaderValue::from(1)));
        let mut trailers = HeaderMap::from_iter(fields);
        remove_forbidden(&mut trailers);
        let left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, names[..5]);
    }
}
