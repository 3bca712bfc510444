//! One tunnel's rules, as its visitors meet them.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ggrok_protocol::{Logins, Rules};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use super::seal::Seal;
use super::wrong_logins::WrongLogins;

/// One tunnel's rules. The logins that were right are known again without the work of the first time.
pub(crate) struct Door {
    rules: Rules,
    seal: Seal,
    /// Seals of logins that were right: as many as there are logins at most.
    right: Mutex<Vec<[u8; 32]>>,
    wrong: Mutex<WrongLogins>,
}

impl Door {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            seal: Seal::new(),
            right: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    /// Nobody is let in whose address is not known where there are networks.
    pub(super) fn admits_address(&self, address: Option<IpAddr>) -> bool {
        let mut networks = self.rules.networks.iter();
        let is_in = |address| networks.any(|network| network.contains(address));
        self.rules.networks.is_empty() || address.is_some_and(is_in)
    }

    pub(super) fn admits_path(&self, path: &str) -> bool {
        let mut paths = self.rules.paths.iter();
        paths.len() == 0 || paths.any(|allowed| allowed.contains(path))
    }

    pub(super) const fn has_paths(&self) -> bool {
        !self.rules.paths.is_empty()
    }

    /// Whether a visitor has to give a password or have a link.
    pub(crate) const fn is_closed(&self) -> bool {
        self.rules.is_closed()
    }

    pub(super) const fn has_logins(&self) -> bool {
        self.rules.logins.is_some()
    }

    /// Whether a login was right before.
    pub(super) fn knows(&self, login: &[u8]) -> bool {
        let given = self.seal.of(&[login]);
        let right = self.right();
        let found = right.iter().map(|known| known.ct_eq(&given));
        found
            .fold(Choice::from(0), |found, is_one| found | is_one)
            .into()
    }

    /// Whether a login is right, which takes some 30 ms to find out.
    pub(super) fn look(&self, login: &[u8]) -> bool {
        let is_right = |logins: &Logins| logins.admits(login);
        if !self.rules.logins.as_ref().is_some_and(is_right) {
            return false;
        }
        if !self.knows(login) {
            self.right().push(self.seal.of(&[login]));
        }
        true
    }

    /// Counts a wrong login.
    pub(super) fn failed(&self) {
        self.wrong().failed();
    }

    /// The time before which no login is checked, where there were many wrong ones of late.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.wrong().next_check()
    }

    fn wrong(&self) -> MutexGuard<'_, WrongLogins> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn right(&self) -> MutexGuard<'_, Vec<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Door").field(&self.rules).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Door;
    use ggrok_protocol::{Login, Logins, Rules};

    #[test]
    fn knows_a_login_again_that_was_right() {
        let logins = ["ana:s3cret", "bob:hunter2"].map(|login| login.parse::<Login>().unwrap());
        let door = Door::new(Rules {
            logins: Some(Logins::new(&logins).unwrap()),
            ..Rules::default()
        });
        assert!(!door.look(b"ana:guess") && !door.knows(b"ana:guess"));
        assert!(!door.knows(b"ana:s3cret"));
        for _ in 0..2 {
            assert!(door.look(b"ana:s3cret") && door.knows(b"ana:s3cret"));
        }
        assert!(!door.knows(b"bob:hunter2") && !door.knows(b"ana:s3cre"));
        assert_eq!(door.right().len(), 1);
        assert!(!format!("{door:?}").contains("s3cret"));
    }

    #[test]
    fn lets_nobody_in_from_an_unknown_address() {
        let door = Door::new(Rules {
            networks: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            ..Rules::default()
        });
        assert!(door.admits_address("192.0.2.1".parse().ok()) && !door.admits_address(None));
        assert!(Door::new(Rules::default()).admits_address(None));
    }
}
