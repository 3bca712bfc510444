//! Who may register a client.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Who may register a client.
#[derive(Clone)]
pub enum Access {
    /// Anybody, as with the original ggrok.
    Open,
    /// Whoever has the token. Only its digest is kept.
    Token([u8; 32]),
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    NoToken,
    WrongToken,
}

impl Access {
    /// Lets in whoever has this token.
    #[must_use]
    pub fn token(token: &str) -> Self {
        Self::Token(Sha256::digest(token).into())
    }

    /// Decides by the `Authorization: Bearer` field of a registration (RFC 6750, section 2.1).
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Self::Token(digest) = self else {
            return Ok(());
        };
        let given = bearer(headers).ok_or(Denied::NoToken)?;
        // Digests, so that neither the token's length nor its first bytes show in the time taken.
        if bool::from(Sha256::digest(given).ct_eq(digest)) {
            Ok(())
        } else {
            Err(Denied::WrongToken)
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Token(_) => "Token(..)",
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::{Access, Denied};
    use http::HeaderMap;
    use http::header::AUTHORIZATION;

    fn asked_with(authorization: &str) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        Access::token("s3cret").admit(&headers)
    }

    #[test]
    fn admits_the_token_and_nothing_else() {
        assert_eq!(asked_with("Bearer s3cret"), Ok(()));
        assert_eq!(asked_with("bearer  s3cret "), Ok(()));
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "Bearer S3CRET"] {
            assert_eq!(asked_with(wrong), Err(Denied::WrongToken), "{wrong}");
        }
        for none in ["", "Bearer", "Basic s3cret", "s3cret"] {
            assert_eq!(asked_with(none), Err(Denied::NoToken), "{none}");
        }
        let nothing = HeaderMap::new();
        assert_eq!(Access::token("x").admit(&nothing), Err(Denied::NoToken));
        assert_eq!(Access::Open.admit(&nothing), Ok(()));
    }

    #[test]
    fn never_shows_the_token() {
        assert_eq!(format!("{:?}", Access::token("s3cret")), "Token(..)");
    }
}
