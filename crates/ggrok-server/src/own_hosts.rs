//! The hosts by which clients and programs reach the relay itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::host::Host;
use crate::{Grant, Owner};

/// The relay's own hosts: those of the settings, and those learned from valid requests.
pub(crate) struct OwnHosts {
    configured: Vec<Host>,
    domain: Option<Host>,
    learned: Mutex<Vec<Learned>>,
}

/// How a request reached the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    Registration,
    Api,
}

/// A host by which somebody with a valid token reached the relay.
struct Learned {
    host: Host,
    /// The first owner who did.
    owner: Owner,
    by_registration: bool,
    /// Whether the word of this owner, or of several, is enough to refuse the host to others.
    is_credible: bool,
    has_others: bool,
}

impl OwnHosts {
    pub(crate) fn new(configured: Vec<Host>, domain: Option<Host>) -> Self {
        Self {
            configured,
            domain,
            learned: Mutex::default(),
        }
    }

    /// Notes that a request with this grant came for a host that no client serves. An owner's word is enough
    /// where the owner could have registered the host; else it takes two owners, so that no owner makes
    /// hosts unusable that are out of reach for them.
    pub(crate) fn note(&self, host: &Host, grant: &Grant, contact: Contact) {
        if host.is_local() || self.is_configured(host) {
            return;
        }
        let is_credible = grant.is_operator() || grant.could_have(host, self.domain.as_ref());
        let by_registration = contact == Contact::Registration;
        let mut learned = self.learned();
        if let Some(known) = learned.iter_mut().find(|known| known.host == *host) {
            known.has_others |= known.owner != *grant.owner();
            known.is_credible |= is_credible || known.has_others;
            known.by_registration |= by_registration;
            return;
        }
        let owner = grant.owner();
        if learned.iter().filter(|known| known.owner == *owner).count() >= OF_ONE {
            let oldest = learned.iter().position(|known| known.owner == *owner);
            oldest.map(|oldest| learned.remove(oldest));
        }
        if learned.len() >= MOST {
            learned.remove(0);
        }
        learned.push(Learned {
            host: host.clone(),
            owner: owner.clone(),
            by_registration,
            is_credible,
            has_others: false,
        });
    }

    /// Whether a host is the relay's own, and not to be given to the owner of a grant. `is_same` says that
    /// the owner asks for the host of the handshake itself, as the only client of a relay does.
    pub(crate) fn refuses(&self, host: &Host, grant: &Grant, is_same: bool) -> bool {
        if grant.names_exactly(host, self.domain.as_ref()) || is_same && grant.is_sole() {
            return false;
        }
        let is_domain = !is_same && self.domain.as_ref() == Some(host) && !grant.is_sole();
        if is_domain || self.configured.contains(host) {
            return true;
        }
        let learned = self.learned();
        let known = learned.iter().find(|known| known.host == *host);
        known.is_some_and(|known| {
            if known.owner == *grant.owner() && !known.has_others {
                known.by_registration && !is_same
            } else {
                known.is_credible
            }
        })
    }

    /// Whether hosts of the domain may be claimed in a handshake for this host.
    pub(crate) fn is_known(&self, host: &Host) -> bool {
        let is_learned = || {
            let learned = self.learned();
            learned
                .iter()
                .any(|known| known.host == *host && known.is_credible)
        };
        let domain = self.domain.as_ref();
        host.is_local()
            || self.is_configured(host)
            || domain.is_some_and(|domain| host.is_below(domain))
            || is_learned()
    }

    fn is_configured(&self, host: &Host) -> bool {
        self.configured.contains(host) || self.domain.as_ref() == Some(host)
    }

    fn learned(&self) -> MutexGuard<'_, Vec<Learned>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hosts that are remembered. A relay has one or two, and each owner may be mistaken.
const MOST: usize = 64;

/// Hosts that are remembered of what one owner was the first to use.
const OF_ONE: usize = 4;

#[cfg(test)]
mod tests {
    use super::{Contact, OwnHosts};
    use crate::{Grant, Host, Owner};

    fn host(host: &str) -> Host {
        host.parse().unwrap()
    }

    fn own_hosts() -> OwnHosts {
        OwnHosts::new(vec![host("own.example")], Some(host("t.test")))
    }

    fn grant(owner: &str, names: &str) -> Grant {
        Grant::new(Owner::new(owner)).with_names(vec![names.parse().unwrap()])
    }

    #[test]
    fn believes_an_owner_about_hosts_in_reach_and_two_about_others() {
        let (own, victim) = (own_hosts(), host("victim.t.test"));
        let (ana, bob) = (grant("ana", "*"), grant("bob", "bob-*"));
        own.note(&victim, &bob, Contact::Registration);
        assert!(!own.refuses(&victim, &ana, false));
        assert!(own.refuses(&victim, &bob, false));
        own.note(&victim, &grant("cleo", "cleo-*"), Contact::Api);
        assert!(own.refuses(&victim, &ana, false));
        let tunnel = host("tunnel.t.test");
        own.note(&tunnel, &ana, Contact::Registration);
        assert!(own.refuses(&tunnel, &bob, false));
        assert!(!own.refuses(&tunnel, &grant("dan", "tunnel"), false));
    }

    #[test]
    fn takes_an_api_call_of_an_owner_for_no_claim_against_that_owner() {
        let (own, ana, blog) = (own_hosts(), grant("ana", "*"), host("blog.t.test"));
        own.note(&blog, &ana, Contact::Api);
        assert!(!own.refuses(&blog, &ana, false));
        assert!(own.refuses(&blog, &grant("bob", "*"), false));
    }

    #[test]
    fn an_owner_displaces_few_hosts_of_others() {
        let own = own_hosts();
        let tunnel = host("tunnel.t.test");
        own.note(&tunnel, &grant("ana", "*"), Contact::Registration);
        let bob = grant("bob", "*");
        for number in 0..1000 {
            let other = host(&format!("x{number}.example"));
            own.note(&other, &bob, Contact::Registration);
        }
        assert!(own.refuses(&tunnel, &bob, false));
        assert_eq!(own.learned().len(), 1 + super::OF_ONE);
    }

    #[test]
    fn knows_its_domain_its_settings_and_addresses() {
        let own = own_hosts();
        for known in [
            "t.test",
            "x.t.test",
            "own.example",
            "127.0.0.1",
            "[::1]",
            "localhost",
        ] {
            assert!(own.is_known(&host(known)), "{known}");
        }
        assert!(!own.is_known(&host("other.example")));
        assert!(own.refuses(&host("own.example"), &grant("ana", "*"), true));
    }
}
