//! Whom a tunnel lets in, as its client says when it registers and its relay sees to it.

mod logins;
mod network;
mod path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::logins::{Login, Logins};
pub use self::network::Network;
pub use self::path::PathPrefix;

/// The field of a registration that holds the tunnel's rules, and of the relay's 101 that holds its
/// receipt for them.
pub const RULES_HEADER: HeaderName = HeaderName::from_static("x-ggrok-rules");

/// Whom a tunnel lets in. A visitor has to meet every kind of rule that there is; the default is none,
/// which lets in everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rules {
    /// Users and passwords. A visitor gives one of them, or has a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logins: Option<Logins>,
    /// Whether a link is the only way in where there are no [`logins`](Self::logins).
    #[serde(default, skip_serializing_if = "is_false")]
    pub links_only: bool,
    /// Where visitors may come from; anywhere where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// What visitors may ask for; anything where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathPrefix>,
}

/// What is wrong with rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// A login has no user, no password, or what neither can have.
    #[error("a login is USER:PASSWORD, of at most 256 bytes and without control characters")]
    Login,
    /// A network is none.
    #[error(
        "a network is an address or ADDRESS/LENGTH, like 203.0.113.0/24 or 2001:db8::/32; an IPv4 \
         address is not written as one of IPv6"
    )]
    Network,
    /// A path is none, or could be read in two ways.
    #[error(
        "a path is written as in a request, like /webhooks and not / alone: at most 256 bytes of ASCII, without '..', '//', '*', '?', '#', backslashes and encoded slashes"
    )]
    Path,
    /// There are more rules than a relay takes, or they take too many bytes.
    #[error(
        "at most 32 logins, 64 networks and 32 paths are taken, and 8,000 bytes of them together"
    )]
    TooMany,
    /// The field does not hold rules, or rules that are not known here.
    #[error("the rules are not readable, or of a kind that is not known")]
    Field,
    /// The system gives no random bytes to salt passwords with.
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl Rules {
    /// Whether everybody is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a visitor has to give a password or have a link.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.links_only || self.logins.is_some()
    }

    /// Writes the rules as a field's value: JSON in base64 (RFC 4648, section 5, without padding).
    ///
    /// # Errors
    /// [`BadRules::TooMany`].
    pub fn to_field(&self) -> Result<HeaderValue, BadRules> {
        let json = serde_json::to_vec(self).map_err(|_| BadRules::Field)?;
        let text = BASE64_URL_SAFE_NO_PAD.encode(json);
        if !self.fits() || text.len() > MOST_BYTES {
            return Err(BadRules::TooMany);
        }
        let mut value = HeaderValue::try_from(text).map_err(|_| BadRules::Field)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Reads a field's value. What is not known is an error, and so are no rules at all: a relay that
    /// takes rules keeps them, to the last one.
    ///
    /// # Errors
    /// [`BadRules::TooMany`], or [`BadRules::Field`].
    pub fn of_field(value: &HeaderValue) -> Result<Self, BadRules> {
        if value.len() > MOST_BYTES {
            return Err(BadRules::TooMany);
        }
        let json = BASE64_URL_SAFE_NO_PAD.decode(value);
        let json = json.map_err(|_| BadRules::Field)?;
        let rules: Self = serde_json::from_slice(&json).map_err(|_| BadRules::Field)?;
        if !rules.fits() {
            return Err(BadRules::TooMany);
        }
        if rules.is_empty()
            || rules
                .logins
                .as_ref()
                .is_some_and(|logins| logins.count() == 0)
        {
            return Err(BadRules::Field);
        }
        Ok(rules)
    }

    /// What a relay answers that keeps the rules of this field: a digest of it, so that nothing which
    /// sends fields back unread, or cut, is taken for such a relay.
    #[must_use]
    pub fn receipt(value: &HeaderValue) -> HeaderValue {
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(value.as_bytes()));
        HeaderValue::try_from(digest).expect("base64 is a valid field")
    }

    fn fits(&self) -> bool {
        let logins = self.logins.as_ref().map_or(0, Logins::count);
        logins <= MOST_LOGINS
            && self.networks.len() <= MOST_NETWORKS
            && self.paths.len() <= MOST_PATHS
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(value: &bool) -> bool {
    !*value
}

const MOST_LOGINS: usize = 32;
const MOST_NETWORKS: usize = 64;
const MOST_PATHS: usize = 32;

/// Routers of platforms take lines of 8 KiB.
const MOST_BYTES: usize = 8000;

#[cfg(test)]
mod tests {
    use super::{BadRules, Login, Logins, Rules};
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use http::HeaderValue;

    fn field(json: &str) -> HeaderValue {
        BASE64_URL_SAFE_NO_PAD.encode(json).parse().unwrap()
    }

    fn all() -> Rules {
        let login: Login = "ana:s3cret".parse().unwrap();
        Rules {
            logins: Some(Logins::new(&[login]).unwrap()),
            links_only: true,
            networks: vec!["192.0.2.7/24".parse().unwrap()],
            paths: vec!["/webhooks/".parse().unwrap()],
        }
    }

    #[test]
    fn come_back_as_they_were_sent() {
        let (rules, sent) = (all(), all().to_field().unwrap());
        assert!(sent.is_sensitive());
        let read = Rules::of_field(&sent).unwrap();
        assert_eq!(
            (&read.networks, &read.paths),
            (&rules.networks, &rules.paths)
        );
        assert!(read.links_only && read.logins.unwrap().admits(b"ana:s3cret"));
        let links = Rules {
            links_only: true,
            ..Rules::default()
        };
        assert_eq!(Rules::of_field(&links.to_field().unwrap()), Ok(links));
    }

    #[test]
    fn hold_no_password() {
        let json = BASE64_URL_SAFE_NO_PAD
            .decode(all().to_field().unwrap())
            .unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(
            json.contains("192.0.2.0/24") && json.contains("\"/webhooks\""),
            "{json}"
        );
        for secret in ["ana", "s3cret"] {
            assert!(!json.contains(secret) && !format!("{:?}", all()).contains(secret));
        }
    }

    #[test]
    fn are_refused_where_they_are_not_understood_to_the_last_one() {
        for json in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"links-only":false}"#,
            r#"{"links-only":true,"countries":["nl"]}"#,
            r#"{"networks":["192.0.2.0/33"]}"#,
            r#"{"networks":"192.0.2.0/24"}"#,
            r#"{"paths":["webhooks"]}"#,
            r#"{"paths":["/a/../b"]}"#,
            r#"{"logins":{"salt":"AAAAAAAAAAAAAAAAAAAAAA","digests":[]}}"#,
            r#"{"logins":{"salt":"AA","digests":[]},"links-only":true}"#,
            r#"{"logins":{"salt":"AAAAAAAAAAAAAAAAAAAAAA","digests":["AA"]}}"#,
        ] {
            assert_eq!(
                Rules::of_field(&field(json)),
                Err(BadRules::Field),
                "{json}"
            );
        }
        for text in ["{}", "e30=", "e 30", "\u{fc}"] {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(Rules::of_field(&value), Err(BadRules::Field), "{text}");
        }
    }

    #[test]
    fn are_bounded_at_both_ends() {
        let networks = |count: usize| {
            let network = format!("{:?},", "2001:db8::/32").repeat(count);
            format!(r#"{{"networks":[{}]}}"#, network.trim_end_matches(','))
        };
        assert!(Rules::of_field(&field(&networks(64))).is_ok());
        assert_eq!(
            Rules::of_field(&field(&networks(65))),
            Err(BadRules::TooMany)
        );
        let paths = |count, length| Rules {
            paths: vec![format!("/{}", "x".repeat(length)).parse().unwrap(); count],
            ..Rules::default()
        };
        assert!(paths(32, 100).to_field().is_ok());
        assert_eq!(paths(33, 1).to_field(), Err(BadRules::TooMany));
        assert_eq!(paths(32, 250).to_field(), Err(BadRules::TooMany));
        let long = HeaderValue::try_from("e".repeat(8001)).unwrap();
        assert_eq!(Rules::of_field(&long), Err(BadRules::TooMany));
    }

    #[test]
    fn have_a_receipt_that_is_not_what_was_sent() {
        let (one, other) = (field("{}"), field("{} "));
        assert_ne!(Rules::receipt(&one), one);
        assert_ne!(Rules::receipt(&one), Rules::receipt(&other));
        assert_eq!(Rules::receipt(&one), Rules::receipt(&one.clone()));
    }
}
