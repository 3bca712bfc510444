//! Who somebody is, as their request says.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ggrok_protocol::TOKEN_HEADER;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::{Grant, Tokens};

/// Says whose a request is: of a client that registers, or of a program that reaches a mirror.
///
/// [`Tokens`] does it for the relay's own program; an app that embeds the relay asks its own users. It
/// should go by a field that only a program can set, and not by a cookie, which a browser sends along
/// for whatever page asks; the relay refuses what browsers say comes from another site.
pub trait Authenticate: Send + Sync + 'static {
    /// Takes the credentials out of a request, and says what they grant. What is left in the request
    /// may go on to somebody else's program, so the credentials must not be.
    fn authenticate(
        &self,
        request: &mut Parts,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send;

    /// Whether it costs next to nothing to find out that a token is wrong. Then the relay asks for strong
    /// tokens (16 bytes and more) of an address, too, that gave too many wrong ones.
    fn is_cheap(&self) -> bool {
        false
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The request has no token.
    NoToken,
    /// The token is not known, or no longer valid.
    WrongToken,
    /// Somebody is known, and may not do this.
    Forbidden,
    /// It cannot be found out at the moment.
    Unavailable,
}

/// Takes the token out of a request: `X-Ggrok-Token`, which leaves Authorization to the app behind
/// the mirror, or else `Authorization: Bearer` (RFC 6750, section 2.1).
pub fn take_token(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if let Some(mut token) = headers.remove(TOKEN_HEADER) {
        token.set_sensitive(true);
        return Some(token);
    }
    let token = bearer(headers.get(AUTHORIZATION)?.as_bytes())?;
    headers.remove(AUTHORIZATION);
    Some(token)
}

/// The token that [`take_token`] would take.
pub(crate) fn given_token(headers: &HeaderMap) -> Option<HeaderValue> {
    match headers.get(TOKEN_HEADER) {
        Some(token) => Some(token.clone()),
        None => bearer(headers.get(AUTHORIZATION)?.as_bytes()),
    }
}

fn bearer(authorization: &[u8]) -> Option<HeaderValue> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    let mut token = HeaderValue::from_bytes(token.trim_ascii()).ok()?;
    token.set_sensitive(true);
    Some(token)
}

/// Who may do what at a relay. Clones are the same.
#[derive(Clone)]
pub struct Access {
    by: Arc<dyn Erased>,
    is_open: bool,
}

impl Access {
    /// Lets in anybody, as the original ggrok did. All are one owner.
    #[must_use]
    pub fn open() -> Self {
        Self {
            is_open: true,
            ..Self::by(Open)
        }
    }

    /// Lets in whoever has this token. All are one owner.
    #[must_use]
    pub fn token(token: &str) -> Self {
        Self::by(Tokens::one(token))
    }

    /// Lets in whom somebody else says.
    #[must_use]
    pub fn by(authenticate: impl Authenticate) -> Self {
        Self {
            by: Arc::new(authenticate),
            is_open: false,
        }
    }

    /// Whether anybody is the owner of everything.
    pub(crate) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a wrong token costs next to nothing.
    pub(crate) fn is_cheap(&self) -> bool {
        self.by.is_cheap()
    }

    /// Takes the credentials out of a request, and says what they grant.
    pub(crate) async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        let grant = self.by.authenticate(request).await?;
        if grant.is_over() {
            return Err(Denied::WrongToken);
        }
        Ok(grant)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

/// An [`Authenticate`] whose type is not known.
trait Erased: Send + Sync {
    fn authenticate<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, Result<Grant, Denied>>;

    fn is_cheap(&self) -> bool;
}

impl<A: Authenticate> Erased for A {
    fn authenticate<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, Result<Grant, Denied>> {
        Authenticate::authenticate(self, request).boxed()
    }

    fn is_cheap(&self) -> bool {
        Authenticate::is_cheap(self)
    }
}

/// Everybody is the owner of everything.
struct Open;

impl Authenticate for Open {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        // Whoever gives a token thinks that it is asked for; it is nobody else's to see.
        take_token(&mut request.headers);
        Ok(Grant::everything())
    }
}

#[cfg(test)]
mod tests {
    use super::take_token;
    use http::HeaderMap;

    fn taken(fields: &[(&'static str, &str)]) -> (Option<String>, Vec<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let token = take_token(&mut headers);
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        (token, headers.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn shows_no_token_that_it_took() {
        for (name, value) in [
            ("x-ggrok-token", "s3cret"),
            ("authorization", "Bearer s3cret"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let token = take_token(&mut headers).unwrap();
            assert_eq!(format!("{token:?}"), "Sensitive", "{name}");
        }
    }

    #[test]
    fn takes_the_token_and_leaves_the_apps_own_credentials() {
        let ours = ("x-ggrok-token", "s3cret");
        let bearer = ("authorization", "bearer  s3cret ");
        let s3cret = || Some("s3cret".to_owned());
        assert_eq!(taken(&[ours]), (s3cret(), vec![]));
        assert_eq!(taken(&[bearer]), (s3cret(), vec![]));
        let both = taken(&[ours, ("authorization", "Basic YTpi")]);
        assert_eq!(both, (s3cret(), vec!["authorization".to_owned()]));
        for others in ["", "Bearer", "Basic s3cret", "s3cret"] {
            let left = vec!["authorization".to_owned()];
            assert_eq!(
                taken(&[("authorization", others)]),
                (None, left),
                "{others}"
            );
        }
        assert_eq!(taken(&[]), (None, vec![]));
    }
}
