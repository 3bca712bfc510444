//! What the relay grants to whoever gave a valid token.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::{MirrorName, Owner, Pattern};

/// Who somebody is, and what they may have at the relay. Clones are the same grant.
#[derive(Clone, Debug)]
pub struct Grant {
    owner: Owner,
    names: Vec<Pattern>,
    hosts: Vec<Pattern>,
    expires: Option<SystemTime>,
    revoked: CancellationToken,
    /// Whether it is that of whoever runs the relay.
    is_operator: bool,
    /// Whether everything is its owner's.
    is_sole: bool,
    /// Hosts and names that are kept for an owner.
    reserved: Arc<Vec<Reservation>>,
}

/// A host, or a name in the relay's domain, that is kept for an owner.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) text: String,
    pub(crate) is_host: bool,
    pub(crate) owner: Owner,
}

impl Reservation {
    /// The host that is kept.
    fn host(&self, domain: Option<&Host>) -> Option<Host> {
        if self.is_host {
            return self.text.parse().ok();
        }
        domain?.of_name(&self.text.parse().ok()?).ok()
    }
}

impl Grant {
    /// Grants an owner mirrors of any name, and no host.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        Self {
            owner,
            names: vec![Pattern::any()],
            hosts: Vec::new(),
            expires: None,
            revoked: CancellationToken::new(),
            is_operator: false,
            is_sole: false,
            reserved: Arc::default(),
        }
    }

    /// Grants everything to the owner of everything.
    pub(crate) fn everything() -> Self {
        Self {
            is_sole: true,
            ..Self::new(Owner::default()).with_hosts(vec![Pattern::any()])
        }
    }

    /// Grants everything to whoever runs the relay, and an end to what is others'.
    pub(crate) fn operator() -> Self {
        Self {
            is_operator: true,
            ..Self::everything()
        }
    }

    /// Grants mirrors with these names alone.
    #[must_use]
    pub fn with_names(self, names: Vec<Pattern>) -> Self {
        Self { names, ..self }
    }

    /// Grants these hosts.
    #[must_use]
    pub fn with_hosts(self, hosts: Vec<Pattern>) -> Self {
        Self { hosts, ..self }
    }

    /// Lets the grant end at a time. The tunnels that were registered with it are closed then.
    #[must_use]
    pub fn until(self, expires: SystemTime) -> Self {
        let expires = Some(expires);
        Self { expires, ..self }
    }

    /// Lets the grant end when a token of the app's own is cancelled. The tunnels that were
    /// registered with it are closed then.
    #[must_use]
    pub fn unless_cancelled(self, revoked: CancellationToken) -> Self {
        Self { revoked, ..self }
    }

    pub(crate) fn with_reserved(self, reserved: Arc<Vec<Reservation>>) -> Self {
        Self { reserved, ..self }
    }

    /// Whose the grant is.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whose hosts it lists and closes: its owner's, or for the operator, of nobody in particular, all.
    pub(crate) fn oversees(&self) -> Option<&Owner> {
        (!self.is_operator).then_some(&self.owner)
    }

    pub(crate) const fn is_operator(&self) -> bool {
        self.is_operator
    }

    /// Whether everything is its owner's: the operator's, or everybody's at an open relay.
    pub(crate) const fn is_sole(&self) -> bool {
        self.is_sole
    }

    /// Whether its owner could register a host, by the host or by its name in the relay's domain.
    pub(crate) fn could_have(&self, host: &Host, domain: Option<&Host>) -> bool {
        let name = domain.and_then(|domain| host.name_in(domain));
        let is_allowed =
            !self.is_denied(host, domain) && !domain.is_some_and(|of| of.reserves(host));
        let by_name = name.is_some_and(|name| any(&self.names, name));
        is_allowed && (by_name || self.allows_host(host))
    }

    /// Whether the grant has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.revoked.is_cancelled() || self.left() == Some(Duration::ZERO)
    }

    /// Waits for the grant's end. Cancel-safe.
    pub(crate) async fn ended(&self) {
        let expired = async {
            while let Some(left) = self.left().filter(|left| !left.is_zero()) {
                // In steps, because the system's clock may be set meanwhile.
                sleep(left.min(STEP)).await;
            }
            if self.expires.is_none() {
                pending().await
            }
        };
        self.revoked.run_until_cancelled(expired).await;
    }

    pub(crate) fn allows_name(&self, name: &MirrorName) -> bool {
        any(&self.names, name.as_str())
    }

    pub(crate) fn allows_host(&self, host: &Host) -> bool {
        any(&self.hosts, host.as_str())
    }

    /// Whether it is granted this very host, and not one of many by a pattern.
    pub(crate) fn names_host(&self, host: &Host) -> bool {
        let mut exact = self.hosts.iter().filter_map(Pattern::exact);
        exact.any(|named| named == host.as_str())
    }

    /// Whether it is granted this very host, by the host itself or by its name in the relay's domain.
    pub(crate) fn names_exactly(&self, host: &Host, domain: Option<&Host>) -> bool {
        let name = domain.and_then(|domain| host.name_in(domain));
        let mut exact = self.names.iter().filter_map(Pattern::exact);
        self.names_host(host) || name.is_some_and(|name| exact.any(|named| named == name))
    }

    /// Whether a host, or one above or below it, is kept for other owners. What is granted in full is not.
    pub(crate) fn is_denied(&self, host: &Host, domain: Option<&Host>) -> bool {
        if self.names_exactly(host, domain) {
            return false;
        }
        let kept = self.reserved.iter().filter_map(|kept| {
            let kept_host = kept.host(domain)?;
            let is_related = kept_host == *host
                || host.is_beneath(&kept_host, domain)
                || kept_host.is_beneath(host, domain);
            is_related.then_some((kept_host, &kept.owner))
        });
        let kept: Vec<(Host, &Owner)> = kept.collect();
        let is_own = |host: &Host| {
            let mut same = kept.iter().filter(|(other, _)| other == host);
            same.any(|(_, owner)| **owner == self.owner)
        };
        kept.iter().any(|(host, _)| !is_own(host))
    }

    /// The time until the grant expires, where it does.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = |at: SystemTime| at.duration_since(SystemTime::now()).unwrap_or_default();
        self.expires.map(left)
    }
}

fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

/// How late an expiry may be noticed after the clock was set.
const STEP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::Grant;
    use crate::Owner;
    use std::time::{Duration, SystemTime};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn ends_when_it_expires_or_is_revoked() {
        let ana = || Grant::new(Owner::new("ana"));
        assert!(!ana().is_over());
        let soon = SystemTime::now() + Duration::from_millis(50);
        let expiring = ana().until(soon);
        assert!(!expiring.is_over());
        expiring.ended().await;
        assert!(expiring.is_over());

        let revoked = CancellationToken::new();
        let grant = ana().unless_cancelled(revoked.clone());
        let waiting = grant.clone();
        let waiting = tokio::spawn(async move { waiting.ended().await });
        revoked.cancel();
        waiting.await.unwrap();
        assert!(grant.is_over());
    }
}
