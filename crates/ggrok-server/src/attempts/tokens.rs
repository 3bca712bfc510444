//! Which tokens an address may still give after too many wrong ones.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;

use super::{ADDRESSES, Attempts, key};
use crate::tokens::{Digest, digest};

/// Wrong tokens by address, and the exceptions for tokens that cannot be guessed: whoever shares an
/// address with somebody who guesses gets in by a strong token.
pub(crate) struct TokenAttempts {
    wrong: Attempts,
    /// Wrong tokens of medium strength beyond the limit.
    medium: Attempts,
    /// Tokens that were right and are not weak, for relays that have to ask somebody else for whose they are.
    right: Mutex<LruCache<IpAddr, Vec<Digest>>>,
}

/// How hard a token is to guess, as far as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// It may be guessed: at the usual limit only.
    Weak,
    /// It takes millions of guesses at least.
    Medium,
    /// Nobody guesses it.
    Strong,
}

impl Strength {
    /// The strength of a token, by its length and the number of different bytes.
    pub(crate) fn of(token: &[u8]) -> Self {
        let mut bytes = token.to_vec();
        bytes.sort_unstable();
        bytes.dedup();
        match (token.len(), bytes.len()) {
            (32.., 10..) => Self::Strong,
            (16.., 8..) => Self::Medium,
            _ => Self::Weak,
        }
    }
}

impl TokenAttempts {
    /// Lets each address give so many wrong tokens in a minute.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            wrong: Attempts::new(most),
            medium: Attempts::new(MEDIUM),
            right: Mutex::new(LruCache::new(ADDRESSES)),
        }
    }

    /// Whether an address may give this token. Beyond the limit no weak one is looked at, and of the others
    /// each one where that `is_cheap`, else those that were right from there before.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(crate) fn allowed(
        &self,
        address: IpAddr,
        token: Option<&[u8]>,
        is_cheap: bool,
    ) -> Result<(), Duration> {
        let wait = match (self.wrong.allowed(address), token) {
            (Ok(()), _) => return Ok(()),
            (Err(wait), None) => return Err(wait),
            (Err(wait), Some(_)) => wait,
        };
        let token = token.unwrap_or_default();
        match Strength::of(token) {
            Strength::Weak => return Err(wait),
            Strength::Medium => self.medium.allowed(address)?,
            Strength::Strong => {}
        }
        if is_cheap || self.was_right(address, token) {
            Ok(())
        } else {
            self.note_medium(address, token);
            Err(wait)
        }
    }

    /// Notes that an address gave a wrong token.
    ///
    /// # Errors
    /// How long it has to wait, where it is beyond the limit: it learns no more of the token.
    pub(crate) fn failed(&self, address: IpAddr, token: Option<&[u8]>) -> Result<(), Duration> {
        let allowed = self.wrong.allowed(address);
        if allowed.is_ok() {
            self.wrong.failed(address);
        } else if let Some(token) = token {
            self.note_medium(address, token);
        }
        allowed
    }

    fn note_medium(&self, address: IpAddr, token: &[u8]) {
        if Strength::of(token) == Strength::Medium {
            self.medium.failed(address);
        }
    }

    /// Notes that an address gave a right token.
    pub(crate) fn succeeded(&self, address: IpAddr, token: &[u8]) {
        if Strength::of(token) == Strength::Weak {
            return;
        }
        let digest = digest(token);
        let mut right = self.right();
        let of_address = right.get_or_insert_mut(key(address), Vec::new);
        if !of_address.contains(&digest) {
            of_address.insert(0, digest);
            of_address.truncate(RIGHT);
        }
    }

    /// Whether a token was right from an address before. It is compared by a digest, which nobody can
    /// choose.
    fn was_right(&self, address: IpAddr, token: &[u8]) -> bool {
        let mut right = self.right();
        let of_address = right.get(&key(address));
        of_address.is_some_and(|of_address| of_address.contains(&digest(token)))
    }

    fn right(&self) -> MutexGuard<'_, LruCache<IpAddr, Vec<Digest>>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wrong tokens of medium strength beyond the limit, a minute: too few to guess one of 2^40 in a lifetime.
const MEDIUM: u32 = 600;

/// Right tokens that are remembered of an address.
const RIGHT: usize = 8;

#[cfg(test)]
mod tests {
    use super::{MEDIUM, Strength, TokenAttempts};
    use std::net::IpAddr;

    const STRONG: &[u8] = b"ggrok_w5Yk1s0cGZ4q8XbTn7uVhRzLpMaEoJd2iKfQxU3yB6A";
    const MEDIUM_TOKEN: &[u8] = b"token of the operator";

    fn address() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    /// Attempts of an address that has given ten wrong tokens.
    fn beyond() -> TokenAttempts {
        let attempts = TokenAttempts::new(10);
        for _ in 0..10 {
            assert_eq!(attempts.allowed(address(), Some(b"guess"), true), Ok(()));
            assert_eq!(attempts.failed(address(), Some(b"guess")), Ok(()));
        }
        attempts
    }

    #[test]
    fn knows_tokens_that_can_be_guessed() {
        for (token, strength) in [
            (&b""[..], Strength::Weak),
            (b"s3cret", Strength::Weak),
            (b"passwordpassword", Strength::Weak),
            (b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Strength::Weak),
            (MEDIUM_TOKEN, Strength::Medium),
            (STRONG, Strength::Strong),
        ] {
            assert_eq!(Strength::of(token), strength, "{token:?}");
        }
    }

    #[test]
    fn let_strong_tokens_through_where_they_are_cheap_to_check() {
        let attempts = beyond();
        let allowed = |token, is_cheap| attempts.allowed(address(), Some(token), is_cheap).is_ok();
        assert!(allowed(STRONG, true) && allowed(MEDIUM_TOKEN, true));
        assert!(!allowed(STRONG, false));
        assert!(!allowed(b"guess", true));
        assert!(attempts.allowed(address(), None, true).is_err());
        // A wrong one is told apart from others by nothing.
        assert!(attempts.failed(address(), Some(STRONG)).is_err());
        for _ in 0..MEDIUM {
            assert!(allowed(MEDIUM_TOKEN, true));
            assert!(attempts.failed(address(), Some(MEDIUM_TOKEN)).is_err());
        }
        assert!(!allowed(MEDIUM_TOKEN, true) && allowed(STRONG, true));
    }

    #[test]
    fn let_tokens_through_that_were_right_where_others_cost_something_to_check() {
        let attempts = beyond();
        let allowed = |token| attempts.allowed(address(), Some(token), false).is_ok();
        for token in [STRONG, MEDIUM_TOKEN, b"s3cret"] {
            assert!(!allowed(token));
            attempts.succeeded(address(), token);
        }
        assert!(allowed(STRONG) && allowed(MEDIUM_TOKEN));
        assert!(!allowed(b"s3cret"), "it could be guessed");
        let elsewhere = "192.0.2.2".parse().unwrap();
        for _ in 0..10 {
            attempts.failed(elsewhere, None).unwrap();
        }
        let from_elsewhere = attempts.allowed(elsewhere, Some(STRONG), false);
        assert!(from_elsewhere.is_err());
        for _ in 0..MEDIUM {
            assert!(!allowed(b"token of the operatos"));
        }
        assert!(allowed(STRONG) && !allowed(MEDIUM_TOKEN));
    }
}
