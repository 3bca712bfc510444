//! Whom a tunnel's rules let in, before anything of a request is sent to its client.

pub(crate) mod api;
mod checks;
mod cookie;
mod door;
mod login;
mod pass;
mod path_fields;
mod queue;
mod seal;
mod shares;
mod wrong_logins;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Request};

use self::checks::Checks;
use self::cookie::Crumb;
pub(crate) use self::door::Door;
pub(crate) use self::login::LOGIN_HEADER;
pub(crate) use self::pass::{Pass, passing};
pub(crate) use self::path_fields::is_path_field;
use self::shares::Shares;
use crate::Tunnel;
use crate::attempts::{Attempts, counted};
use crate::error::RelayError;
use crate::host::Host;

/// What all tunnels' doors share.
pub(crate) struct Gate {
    pub(crate) shares: Shares,
    wrong_logins: Arc<Attempts>,
    checks: Checks,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let wrong_logins = Arc::new(Attempts::new(WRONG_LOGINS));
        Self {
            shares: Shares::new(),
            checks: Checks::new(Arc::clone(&wrong_logins)),
            wrong_logins,
        }
    }

    /// Lets a visitor's request in, and takes out of it what was said to the relay alone. A pass that is
    /// returned may end before the call does.
    pub(crate) async fn admit(
        &self,
        tunnel: &Tunnel,
        host: &Host,
        address: Option<IpAddr>,
        request: &mut Request<Body>,
    ) -> Result<Option<Pass>, RelayError> {
        let crumbs = cookie::take(request.headers_mut());
        let Some(door) = tunnel.door() else {
            return Ok(None);
        };
        if !door.admits_address(address) {
            return Err(RelayError::AddressNotAllowed);
        }
        if !door.admits_path(request.uri().path()) {
            return Err(RelayError::PathNotAllowed);
        }
        if door.has_paths() {
            path_fields::remove(request.headers_mut(), |path| door.admits_path(path));
        }
        if !door.is_closed() {
            return Ok(None);
        }
        let without_link = match self.admit_by_link(tunnel, host, &crumbs, request) {
            Ok(pass) => return Ok(Some(pass)),
            Err(error) => error,
        };
        if !door.has_logins() {
            return Err(without_link);
        }
        self.admit_by_login(door, address, request.headers_mut())
            .await?;
        Ok(None)
    }

    fn admit_by_link(
        &self,
        tunnel: &Tunnel,
        host: &Host,
        crumbs: &[Crumb],
        request: &mut Request<Body>,
    ) -> Result<Pass, RelayError> {
        let path = request.uri().path();
        let pass = self.shares.pass(tunnel.owner(), host, path, crumbs)?;
        if pass.has_path() {
            path_fields::remove(request.headers_mut(), |_| false);
        }
        Ok(pass)
    }

    async fn admit_by_login(
        &self,
        door: &Arc<Door>,
        address: Option<IpAddr>,
        headers: &mut HeaderMap,
    ) -> Result<(), RelayError> {
        let Some(login) = login::given(headers) else {
            return Err(RelayError::LoginRequired);
        };
        let address = counted(address);
        // First, or a password that others have given could be guessed without an end.
        if self.wrong_logins.allowed(address).is_err() {
            return Err(RelayError::TooManyLogins);
        }
        let is_right =
            door.knows(&login.text) || self.checks.is_right(door, address, login.text).await?;
        if !is_right {
            return Err(RelayError::WrongLogin);
        }
        headers.remove(login.field);
        Ok(())
    }
}

/// Removes the relay's own cookies, where no gate has taken them out: no app sees them.
pub(crate) fn remove_cookies(headers: &mut HeaderMap) {
    cookie::take(headers);
}

/// Wrong passwords of one address in a minute. Who types needs fewer, who guesses needs more.
const WRONG_LOGINS: u32 = 10;
