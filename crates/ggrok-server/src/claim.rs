//! What a client asks to serve, as its registration says.

use axum::extract::{OriginalUri, Query};
use ggrok_protocol::Dialect;
use http::Extensions;
use http::header::HeaderValue;
use http::request::Parts;
use serde::Deserialize;

use crate::app::App;
use crate::error::RelayError;
use crate::host::Host;
use crate::place::Place;
use crate::visitor::Visit;
use crate::{Grant, MirrorName, Owner};

/// What a client asks to serve.
pub(crate) enum Claim {
    /// Visitors of a host. `is_told`: of another one than the handshake's.
    Host { host: Host, is_told: bool },
    /// An owner's calls, and where it is public, the visitors of a host too.
    Mirror {
        name: MirrorName,
        host: Option<Host>,
    },
}

/// The query of a host's registration.
#[derive(Deserialize)]
struct HostQuery {
    host: Option<String>,
}

/// The query of a mirror's registration.
#[derive(Deserialize)]
struct MirrorQuery {
    name: String,
    public: Option<String>,
}

impl Claim {
    /// The host of the handshake, or another that its query names.
    pub(crate) fn of_host(_: &App, head: &Parts) -> Result<Self, RelayError> {
        let Query(HostQuery { host }) =
            Query::try_from_uri(&head.uri).map_err(|_| RelayError::BadHost)?;
        if let Some(host) = host {
            let host = host.parse()?;
            return Ok(Self::Host {
                host,
                is_told: true,
            });
        }
        let visit: Option<&Visit> = head.extensions.get();
        let host = visit.ok_or(RelayError::BadHost)?.host.clone();
        Ok(Self::Host {
            host,
            is_told: false,
        })
    }

    /// The name in the query, and its host where that is to be public and the relay has a domain.
    pub(crate) fn of_mirror(app: &App, head: &Parts) -> Result<Self, RelayError> {
        let Query(MirrorQuery { name, public }) =
            Query::try_from_uri(&head.uri).map_err(|_| RelayError::BadName)?;
        let name: MirrorName = name.parse().map_err(|_| RelayError::BadName)?;
        let public = match public.as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => return Err(RelayError::BadName),
        };
        let domain = app.config.domain.as_ref().filter(|_| public);
        let host = domain.map(|domain| domain.of_name(&name)).transpose();
        let host = host.map_err(|_| RelayError::BadName)?;
        // The host by which clients and programs reach the relay itself is nobody's name.
        let visit: Option<&Visit> = head.extensions.get();
        if host.is_some() && host.as_ref() == visit.map(|visit| &visit.host) {
            return Err(RelayError::Taken);
        }
        Ok(Self::Mirror { name, host })
    }

    /// The dialect of a client that chooses none.
    pub(crate) const fn original(&self) -> Dialect {
        match self {
            Self::Host { .. } => Dialect::Ggrok,
            Self::Mirror { .. } => Dialect::MagicMirror,
        }
    }

    /// Whether a grant allows it, in a handshake with this head.
    pub(crate) fn check(&self, app: &App, grant: &Grant, head: &Parts) -> Result<(), RelayError> {
        let domain = app.config.domain.as_ref();
        let (allowed, host) = match self {
            Self::Host { host, .. } => (grant.allows_host(host), Some(host)),
            Self::Mirror { name, host } => (grant.allows_name(name), host.as_ref()),
        };
        if !allowed {
            return Err(RelayError::NotYours);
        }
        if host.is_some_and(|host| grant.is_denied(host, domain)) {
            return Err(RelayError::Taken);
        }
        let is_reserved = |host: &Host| domain.is_some_and(|domain| domain.reserves(host));
        if host.is_some_and(|host| is_reserved(host) && !grant.names_host(host)) {
            return Err(RelayError::Reserved);
        }
        self.check_own_host(app, grant, head)
    }

    /// Refuses the relay's own hosts, and hosts of the domain in handshakes for a host that is not known to
    /// be the relay's.
    fn check_own_host(&self, app: &App, grant: &Grant, head: &Parts) -> Result<(), RelayError> {
        let (host, is_same) = match self {
            Self::Host { host, is_told } => (host, !is_told),
            Self::Mirror {
                host: Some(host), ..
            } => (host, false),
            Self::Mirror { host: None, .. } => return Ok(()),
        };
        // An owner whose client has the host keeps it.
        if app
            .registry
            .is_of(&Place::Host(host.clone()), grant.owner())
        {
            return Ok(());
        }
        if app.own_hosts.refuses(host, grant, is_same) {
            return Err(RelayError::Reserved);
        }
        let domain = app.config.domain.as_ref();
        let is_in_domain = domain.is_some_and(|domain| host.is_below(domain));
        let visit: Option<&Visit> = head.extensions.get();
        let is_unknown = visit.is_some_and(|visit| !app.own_hosts.is_known(&visit.host));
        let is_exempt = grant.is_sole() || grant.names_exactly(host, domain);
        if is_in_domain && is_unknown && !is_exempt {
            return Err(RelayError::UnknownRelayHost);
        }
        Ok(())
    }

    /// What the tunnel will have, where it is an owner's.
    pub(crate) fn places(&self, owner: &Owner) -> Vec<Place> {
        match self {
            Self::Host { host, .. } => vec![Place::Host(host.clone())],
            Self::Mirror { name, host } => {
                let mirror = Place::Mirror(owner.clone(), name.clone());
                let host = host.clone().map(Place::Host);
                std::iter::once(mirror).chain(host).collect()
            }
        }
    }

    /// Where the tunnel can be reached, as a reference (RFC 3986, section 4.2), for a client that
    /// cannot know.
    pub(crate) fn address(&self, extensions: &Extensions) -> Option<HeaderValue> {
        let address = match self {
            Self::Host { is_told: false, .. } => return None,
            Self::Host { host, .. }
            | Self::Mirror {
                host: Some(host), ..
            } => format!("//{host}/"),
            Self::Mirror { name, .. } => {
                let OriginalUri(uri) = extensions.get()?;
                format!("{}s/{name}/", uri.path())
            }
        };
        HeaderValue::from_str(&address).ok()
    }
}
