//! Fields by which a visitor claims an address, host or scheme of its own.

use crate::field_name::words;

/// Whether apps may take a field of this name for the visitor's address, or for the host or scheme that
/// the visitor asked for. Apps, frameworks and platforms know hundreds of such names, so the words of
/// the name decide and not a list: `x-cluster-client-ip`, `forwarded-for`, `x-original-host`.
pub(super) fn is_claim(name: &str) -> bool {
    let (mut qualifiers, mut subjects, mut others) = (0, 0, 0);
    for word in words(name) {
        match Word::of(word) {
            Word::Address => return true,
            Word::Subject => subjects += 1,
            Word::Qualifier => qualifiers += 1,
            Word::Other => others += 1,
        }
    }
    // `x-host` and `x-real-host`, but neither `host` nor `x-github-enterprise-host`.
    others == 0 && subjects > 0 && qualifiers > 0 || FAMILIES.iter().any(|f| name.starts_with(f))
}

/// Fields that only a platform's router sets.
const FAMILIES: [&str; 3] = ["cf-", "x-appengine-", "x-envoy-"];

/// What a word of a name says.
enum Word {
    /// The field is about an address or a hop before, whatever the other words are.
    Address,
    /// The field is about an address, host, port or scheme, if the other words are qualifiers.
    Subject,
    /// Says whose the subject is.
    Qualifier,
    Other,
}

impl Word {
    fn of(word: &[u8]) -> Self {
        match word {
            b"ip" | b"ips" | b"ipv4" | b"ipv6" | b"ipaddress" | b"addr" => Self::Address,
            b"address" | b"for" | b"host" | b"hostname" | b"hosts" | b"https" | b"port"
            | b"proto" | b"protocol" | b"scheme" | b"ssl" => Self::Subject,
            b"x" | b"z" | b"client" | b"cluster" | b"connecting" | b"connection" | b"end"
            | b"external" | b"forward" | b"front" | b"http" | b"name" | b"orig" | b"origin"
            | b"original" | b"originating" | b"override" | b"peer" | b"proxied" | b"proxy"
            | b"proxyuser" | b"public" | b"real" | b"remote" | b"request" | b"requested"
            | b"rewrite" | b"server" | b"source" | b"src" | b"true" | b"url" | b"user"
            | b"viewer" | b"visitor" => Self::Qualifier,
            // English words end like this too: ship, zip, skip.
            [start @ .., b'i', b'p'] if OF_AN_IP.contains(&start) => Self::Address,
            [.., b'a', b'd', b'd', b'r']
            | [b'f', b'o', b'r', b'w', b'a', b'r', b'd', b'e', b'd', ..] => Self::Address,
            _ => Self::Other,
        }
    }
}

/// What is written in one word with `ip`, as in `x-azure-clientip`.
const OF_AN_IP: [&[u8]; 14] = [
    b"client",
    b"connecting",
    b"forwarded",
    b"origin",
    b"originating",
    b"peer",
    b"proxyuser",
    b"real",
    b"remote",
    b"socket",
    b"source",
    b"true",
    b"user",
    b"visitor",
];

#[cfg(test)]
mod tests {
    use super::is_claim;

    #[test]
    fn are_known_by_their_words() {
        for name in [
            "x-client-ip",
            "client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "cf-connecting-ipv6",
            "cf-ray",
            "x-cluster-client-ip",
            "fastly-client-ip",
            "fly-client-ip",
            "wl-proxy-client-ip",
            "x-originating-ip",
            "x-remote-ip",
            "x-remote-addr",
            "remote-addr",
            "x-remoteaddr",
            "x-proxyuser-ip",
            "x-real-ip",
            "x.real.ip",
            "forwarded",
            "x-forwarded",
            "forwarded-for",
            "x-forward-for",
            "x-forwardedfor",
            "x-forwarded-anything",
            "x-original-forwarded-for",
            "x-vercel-forwarded-for",
            "x-appengine-user-ip",
            "x-appengine-cron",
            "x-azure-clientip",
            "x-azure-socketip",
            "x-envoy-external-address",
            "x-envoy-internal",
            "x-nf-client-connection-ip",
            "x-custom-ip-authorization",
            "x-host",
            "x-http-host-override",
            "x-original-host",
            "x-real-host",
            "x-forwarded-host",
            "proxy-host",
            "x-server-port",
            "x-url-scheme",
            "front-end-https",
            "x-scheme",
            "x-client-address",
        ] {
            assert!(is_claim(name), "{name}");
        }
    }

    #[test]
    fn are_nothing_that_says_something_else() {
        for name in [
            "host",
            "origin",
            "referer",
            "user-agent",
            "x-github-enterprise-host",
            "x-client-version",
            "x-client-info",
            "x-client-id",
            "x-request-id",
            "x-requested-with",
            "x-real-name",
            "x-user-id",
            "sec-websocket-protocol",
            "x-wallet-address",
            "x-zip",
            "x-skip-cache",
            "x-ship-to",
            "accept",
            "cookie",
            "x-http-method-override",
            "x-vercel-signature",
            "x-amz-target",
            "from",
            "via",
            "content-location",
        ] {
            assert!(!is_claim(name), "{name}");
        }
    }
}
