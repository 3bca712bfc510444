//! Links that let visitors in: made by an owner, for a while, and gone when the relay is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ggrok_protocol::PathPrefix;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cookie::Crumb;
use super::pass::Pass;
use super::seal::{Seal, random};
use crate::error::RelayError;
use crate::host::Host;
use crate::{Grant, Owner};

/// All links, and what their visitors' sessions are sealed with.
pub(crate) struct Shares {
    links: Mutex<HashMap<String, Link>>,
    seal: Seal,
}

/// What a link opens.
pub(super) struct Opens {
    pub(super) host: Host,
    /// All that the tunnel shows, where there is none.
    pub(super) path: Option<PathPrefix>,
    pub(super) time: Duration,
    /// Visitors that may come in; any number where there is none.
    pub(super) uses: Option<usize>,
}

/// A link as its owner is told of it.
pub(super) struct Description {
    pub(super) id: String,
    pub(super) host: Host,
    pub(super) path: Option<PathPrefix>,
    pub(super) expires: SystemTime,
    pub(super) uses: Option<usize>,
    /// Visitors that have come in; they are not counted where any number may.
    pub(super) used: usize,
}

/// What a visitor is given who opens a link.
pub(super) struct Opened {
    /// Nothing where the visitor has one that is in use.
    pub(super) crumb: Option<Crumb>,
    pub(super) left: Duration,
    pub(super) path: Option<PathPrefix>,
}

struct Link {
    grant: Arc<Grant>,
    opens: Opens,
    /// The secret's digest. The secret itself is kept nowhere.
    digest: [u8; 32],
    until: Instant,
    expires: SystemTime,
    /// Digests of the sessions that are in use, where they are counted.
    sessions: HashSet<[u8; 32]>,
    revoked: CancellationToken,
}

impl Link {
    fn is_over(&self) -> bool {
        self.until <= Instant::now() || self.grant.is_over()
    }

    fn is_used_up(&self) -> bool {
        self.opens
            .uses
            .is_some_and(|uses| self.sessions.len() >= uses)
    }

    /// Whether a sealed cookie is of a visitor that has come in already.
    fn has_session(&self, crumb: &Crumb) -> bool {
        let is_counted = || {
            let session: [u8; 32] = Sha256::digest(crumb.session).into();
            self.sessions.contains(&session)
        };
        self.opens.uses.is_none() || is_counted()
    }

    fn describe(&self, id: &str) -> Description {
        Description {
            id: id.to_owned(),
            host: self.opens.host.clone(),
            path: self.opens.path.clone(),
            expires: self.expires,
            uses: self.opens.uses,
            used: self.sessions.len(),
        }
    }
}

impl Shares {
    pub(super) fn new() -> Self {
        Self {
            links: Mutex::default(),
            seal: Seal::new(),
        }
    }

    /// Makes a link, which ends with the grant at the latest. Returns what its URL ends with, which is
    /// told this once.
    pub(super) fn make(
        &self,
        grant: Grant,
        opens: Opens,
    ) -> Result<(String, Description), RelayError> {
        let (id, secret) = (HEXLOWER.encode(&random::<8>()), random::<32>());
        let time = grant.left().map_or(opens.time, |left| left.min(opens.time));
        let link = Link {
            digest: Sha256::digest(secret).into(),
            until: Instant::now() + time,
            expires: SystemTime::now() + time,
            sessions: HashSet::new(),
            revoked: CancellationToken::new(),
            grant: Arc::new(grant),
            opens,
        };
        let description = link.describe(&id);
        let mut links = self.links();
        links.retain(|_, link| !link.is_over());
        let owned = links
            .values()
            .filter(|other| other.grant.owner() == link.grant.owner());
        if links.len() >= MOST || owned.count() >= MOST_OF_ONE {
            return Err(RelayError::TooManyLinks);
        }
        let ticket = format!("{id}.{}", BASE64URL_NOPAD.encode(&secret));
        links.insert(id, link);
        Ok((ticket, description))
    }

    /// The links of an owner that are not over, those first that end first.
    pub(super) fn of(&self, owner: &Owner) -> Vec<Description> {
        let links = self.links();
        let own = links
            .iter()
            .filter(|(_, link)| link.grant.owner() == owner && !link.is_over());
        let mut own: Vec<_> = own.map(|(id, link)| link.describe(id)).collect();
        own.sort_by_key(|link| link.expires);
        own
    }

    /// Ends a link of an owner's, and what is under way by it. Returns whether there was one.
    pub(super) fn revoke(&self, owner: &Owner, id: &str) -> bool {
        let mut links = self.links();
        if links.get(id).is_none_or(|link| link.grant.owner() != owner) {
            return false;
        }
        if let Some(link) = links.remove(id) {
            link.revoked.cancel();
        }
        true
    }

    /// Opens a link with what its URL ends with. It counts as used when the visitor first comes with the
    /// cookie: whoever looks at the link alone, as chat programs do for a preview, uses nothing up.
    pub(super) fn open(
        &self,
        host: &Host,
        ticket: &str,
        crumbs: &[Crumb],
    ) -> Result<Opened, RelayError> {
        let (id, secret) = ticket.split_once('.').ok_or(RelayError::LinkOver)?;
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes());
        let digest: [u8; 32] = Sha256::digest(secret.map_err(|_| RelayError::LinkOver)?).into();
        let own = crumbs
            .iter()
            .filter(|crumb| crumb.link == id && self.is_sealed(crumb));
        let own: Vec<&Crumb> = own.collect();
        let links = self.links();
        let link = links.get(id).ok_or(RelayError::LinkOver)?;
        let is_right = bool::from(link.digest.ct_eq(&digest)) && link.opens.host == *host;
        if !is_right || link.is_over() {
            return Err(RelayError::LinkOver);
        }
        let crumb = if own.into_iter().any(|crumb| link.has_session(crumb)) {
            None
        } else if link.is_used_up() {
            return Err(RelayError::LinkUsedUp);
        } else {
            Some(self.new_session(id))
        };
        Ok(Opened {
            crumb,
            left: link.until.saturating_duration_since(Instant::now()),
            path: link.opens.path.clone(),
        })
    }

    /// Lets a visitor in by one of its cookies. Cookies that this relay did not seal count for nothing,
    /// however many another host of the domain has set. The head of a request bounds how many are looked at.
    pub(super) fn pass(
        &self,
        owner: &Owner,
        host: &Host,
        path: &str,
        crumbs: &[Crumb],
    ) -> Result<Pass, RelayError> {
        let mut why_not = None;
        for crumb in crumbs.iter().filter(|crumb| self.is_sealed(crumb)) {
            match self.pass_by(owner, host, path, crumb) {
                Ok(pass) => return Ok(pass),
                // Sealed for another host, or of the past: less telling than what else is wrong.
                Err(RelayError::LinkOver) => {}
                Err(error) => why_not = Some(error),
            }
        }
        Err(why_not.unwrap_or(if crumbs.is_empty() {
            RelayError::LinkRequired
        } else {
            RelayError::LinkOver
        }))
    }

    /// Lets a visitor in by a cookie that this relay has sealed.
    fn pass_by(
        &self,
        owner: &Owner,
        host: &Host,
        path: &str,
        crumb: &Crumb,
    ) -> Result<Pass, RelayError> {
        let mut links = self.links();
        let link = links.get_mut(&crumb.link).ok_or(RelayError::LinkOver)?;
        // The host may have become somebody else's.
        if link.opens.host != *host || link.grant.owner() != owner || link.is_over() {
            return Err(RelayError::LinkOver);
        }
        let opens = &link.opens;
        if opens
            .path
            .as_ref()
            .is_some_and(|opened| !opened.contains(path))
        {
            return Err(RelayError::OutsideLink);
        }
        if opens.uses.is_some() {
            let session = Sha256::digest(crumb.session).into();
            if !link.sessions.contains(&session) {
                if link.is_used_up() {
                    return Err(RelayError::LinkUsedUp);
                }
                link.sessions.insert(session);
            }
        }
        Ok(Pass {
            grant: Arc::clone(&link.grant),
            revoked: link.revoked.clone(),
            expires: link.until,
            has_path: link.opens.path.is_some(),
        })
    }

    fn new_session(&self, link: &str) -> Crumb {
        let session = random();
        Crumb {
            link: link.to_owned(),
            session,
            seal: self.seal.of(&[&session, link.as_bytes()]),
        }
    }

    fn is_sealed(&self, crumb: &Crumb) -> bool {
        let seal = self.seal.of(&[&crumb.session, crumb.link.as_bytes()]);
        seal.ct_eq(&crumb.seal).into()
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Links at a time, of one owner and in all.
const MOST_OF_ONE: usize = 100;
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::{Crumb, Opens, Pass, Shares};
    use crate::error::RelayError;
    use crate::host::Host;
    use crate::{Grant, Owner};
    use std::time::{Duration, SystemTime};
    use tokio::time::{advance, timeout};
    use tokio_util::sync::CancellationToken;

    fn host() -> Host {
        "a.example".parse().unwrap()
    }

    fn ana() -> Grant {
        Grant::new(Owner::new("ana"))
    }

    fn opens(path: Option<&str>, uses: Option<usize>) -> Opens {
        Opens {
            host: host(),
            path: path.map(|path| path.parse().unwrap()),
            time: Duration::from_secs(60),
            uses,
        }
    }

    /// What becomes of a visitor who opens a link and comes with the cookie.
    fn visit(shares: &Shares, ticket: &str, path: &str) -> Result<(), RelayError> {
        let opened = shares.open(&host(), ticket, &[])?;
        let crumbs = [opened.crumb.unwrap()];
        shares
            .pass(&Owner::new("ana"), &host(), path, &crumbs)
            .map(drop)
    }

    #[test]
    fn opens_its_path_at_its_host_for_its_owners_tunnel() {
        let shares = Shares::new();
        let (ticket, link) = shares.make(ana(), opens(Some("/checkout"), None)).unwrap();
        assert!(visit(&shares, &ticket, "/checkout/1").is_ok());
        let outside = visit(&shares, &ticket, "/checkouts");
        assert!(matches!(outside, Err(RelayError::OutsideLink)));
        let other: Host = "b.example".parse().unwrap();
        assert!(shares.open(&other, &ticket, &[]).is_err());
        let crumbs = [shares.open(&host(), &ticket, &[]).unwrap().crumb.unwrap()];
        let own = host();
        let pass = |owner: &str, host| shares.pass(&Owner::new(owner), host, "/checkout", &crumbs);
        assert!(pass("ana", &own).is_ok());
        assert!(pass("bob", &own).is_err() && pass("ana", &other).is_err());
        for wrong in [
            "",
            ".",
            &link.id,
            &format!("{}.", link.id),
            &format!("{ticket}A"),
            "x.y",
        ] {
            let refused = shares.open(&host(), wrong, &[]);
            assert!(matches!(refused, Err(RelayError::LinkOver)), "{wrong}");
        }
    }

    #[test]
    fn is_used_by_who_comes_and_not_by_who_looks() {
        let shares = Shares::new();
        let (ticket, _) = shares.make(ana(), opens(None, Some(2))).unwrap();
        let crumb = || shares.open(&host(), &ticket, &[]).unwrap().crumb.unwrap();
        let looked_at = [crumb(), crumb(), crumb()];
        assert_eq!(shares.of(&Owner::new("ana"))[0].used, 0);
        let pass = |crumb| {
            shares.pass(
                &Owner::new("ana"),
                &host(),
                "/",
                std::slice::from_ref(crumb),
            )
        };
        for _ in 0..2 {
            assert!(pass(&looked_at[0]).is_ok() && pass(&looked_at[1]).is_ok());
            assert!(matches!(pass(&looked_at[2]), Err(RelayError::LinkUsedUp)));
        }
        assert!(matches!(
            visit(&shares, &ticket, "/"),
            Err(RelayError::LinkUsedUp)
        ));
        assert_eq!(shares.of(&Owner::new("ana"))[0].used, 2);
        // Who has come in opens it again and uses nothing.
        let [first, ..] = looked_at;
        assert!(
            shares
                .open(&host(), &ticket, &[first])
                .unwrap()
                .crumb
                .is_none()
        );
    }

    #[test]
    fn takes_no_session_that_it_did_not_seal() {
        let shares = Shares::new();
        let (ticket, _) = shares.make(ana(), opens(None, None)).unwrap();
        let (other, _) = shares.make(ana(), opens(None, None)).unwrap();
        let crumb = |ticket| shares.open(&host(), ticket, &[]).unwrap().crumb.unwrap();
        let mut guessed = crumb(&ticket);
        guessed.seal[0] ^= 1;
        let mut changed = crumb(&ticket);
        changed.session[0] ^= 1;
        let mut moved = crumb(&ticket);
        moved.link = crumb(&other).link;
        for crumb in [guessed, changed, moved] {
            assert!(
                shares
                    .pass(&Owner::new("ana"), &host(), "/", &[crumb])
                    .is_err()
            );
        }
    }

    #[test]
    fn lets_a_visitor_in_among_any_number_of_cookies_of_others() {
        let shares = Shares::new();
        let (ticket, link) = shares.make(ana(), opens(Some("/a"), Some(1))).unwrap();
        let own = || shares.open(&host(), &ticket, &[]).unwrap().crumb.unwrap();
        let other: Host = "b.example".parse().unwrap();
        let elsewhere = Opens {
            host: other.clone(),
            ..opens(None, None)
        };
        let (others, _) = shares.make(ana(), elsewhere).unwrap();
        let mut crumbs = Vec::new();
        for number in 0..800 {
            let mut forged = own();
            forged.seal[number % 32] ^= 1;
            // Sealed by this relay, for another host.
            let sealed = shares.open(&other, &others, &[]).unwrap().crumb.unwrap();
            crumbs.extend([forged, sealed]);
        }
        let pass = |path: &str, crumbs: &[Crumb]| {
            let pass = shares.pass(&Owner::new("ana"), &host(), path, crumbs);
            pass.map(drop)
        };
        assert!(matches!(pass("/a", &crumbs), Err(RelayError::LinkOver)));
        assert!(matches!(pass("/a", &[]), Err(RelayError::LinkRequired)));
        crumbs.insert(1_000, own());
        assert!(pass("/a", &crumbs).is_ok());
        assert!(matches!(pass("/b", &crumbs), Err(RelayError::OutsideLink)));
        // The visitor has come in, and opens the link again.
        let opened = shares.open(&host(), &ticket, &crumbs).unwrap();
        assert!(opened.crumb.is_none() && link.used == 0);
        let links = shares.of(&Owner::new("ana"));
        let used: usize = links.iter().map(|link| link.used).sum();
        assert_eq!(used, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_by_its_time_by_its_owner_and_with_its_grant() {
        let shares = Shares::new();
        let over = |ticket: &str| matches!(visit(&shares, ticket, "/"), Err(RelayError::LinkOver));
        let (expiring, _) = shares.make(ana(), opens(None, None)).unwrap();
        assert!(!over(&expiring));
        advance(Duration::from_secs(60)).await;
        assert!(over(&expiring) && shares.of(&Owner::new("ana")).is_empty());

        let (ticket, link) = shares.make(ana(), opens(None, None)).unwrap();
        let crumb = shares.open(&host(), &ticket, &[]).unwrap().crumb.unwrap();
        let pass = shares
            .pass(&Owner::new("ana"), &host(), "/", &[crumb])
            .unwrap();
        assert!(!shares.revoke(&Owner::new("bob"), &link.id) && !over(&ticket));
        assert!(shares.revoke(&Owner::new("ana"), &link.id) && over(&ticket));
        assert!(!shares.revoke(&Owner::new("ana"), &link.id));
        pass.ended().await;

        let revoked = CancellationToken::new();
        let grant = ana().unless_cancelled(revoked.clone());
        let (ticket, _) = shares.make(grant, opens(None, None)).unwrap();
        assert!(!over(&ticket));
        revoked.cancel();
        assert!(over(&ticket));
    }

    /// The way in that a link gives which was made by this grant, and its end as its owner is told it.
    fn passed(shares: &Shares, grant: Grant) -> (Pass, SystemTime) {
        let (ticket, link) = shares.make(grant, opens(None, None)).unwrap();
        let crumb = shares.open(&host(), &ticket, &[]).unwrap().crumb.unwrap();
        let pass = shares.pass(&Owner::new("ana"), &host(), "/", &[crumb]);
        (pass.unwrap(), link.expires)
    }

    #[tokio::test]
    async fn ends_what_is_under_way_with_its_grant() {
        let shares = Shares::new();
        let revoked = CancellationToken::new();
        let (pass, _) = passed(&shares, ana().unless_cancelled(revoked.clone()));
        revoked.cancel();
        timeout(PATIENCE, pass.ended()).await.unwrap();

        let soon = SystemTime::now() + Duration::from_millis(200);
        let (pass, told) = passed(&shares, ana().until(soon));
        assert!(told <= soon + Duration::from_millis(100));
        timeout(PATIENCE, pass.ended()).await.unwrap();
        assert!(SystemTime::now() >= soon);
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn are_so_many_at_a_time() {
        let shares = Shares::new();
        for _ in 0..100 {
            shares.make(ana(), opens(None, None)).unwrap();
        }
        let more = shares.make(ana(), opens(None, None));
        assert!(matches!(more, Err(RelayError::TooManyLinks)));
        let bob = Grant::new(Owner::new("bob"));
        assert!(shares.make(bob, opens(None, None)).is_ok());
        advance(Duration::from_secs(60)).await;
        assert!(shares.make(ana(), opens(None, None)).is_ok());
    }
}
