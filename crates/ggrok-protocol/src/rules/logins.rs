//! Users and passwords, which neither travel nor are kept as they are.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};

use super::BadRules;

/// A user and a password, hidden wherever settings are shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login(String);

/// Reads `USER:PASSWORD`, as RFC 7617 joins them.
impl FromStr for Login {
    type Err = BadRules;

    fn from_str(login: &str) -> Result<Self, BadRules> {
        let (user, password) = login.split_once(':').ok_or(BadRules::Login)?;
        let is_whole = !user.is_empty() && !password.is_empty();
        let is_text = login.len() <= LONGEST && !login.chars().any(char::is_control);
        if is_whole && is_text {
            Ok(Self(login.to_owned()))
        } else {
            Err(BadRules::Login)
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// Logins that are known by their digests alone. One salt is all of theirs, so that finding out
/// whether a login is among them takes the same time whoever the user is.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Logins {
    salt: Bytes<16>,
    digests: Vec<Bytes<32>>,
}

impl Logins {
    /// Digests logins with a new salt, which takes some 30 ms for each.
    ///
    /// # Errors
    /// [`BadRules::NoRandom`].
    pub fn new(logins: &[Login]) -> Result<Self, BadRules> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| BadRules::NoRandom)?;
        let digests = logins.iter().map(|login| digest(login.0.as_bytes(), &salt));
        Ok(Self {
            digests: digests.collect::<Option<_>>().ok_or(BadRules::Login)?,
            salt: Bytes(salt),
        })
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.digests.len()
    }

    /// Whether `USER:PASSWORD` is one of them. It takes some 30 ms and 19 MiB, so that guessing from
    /// the digests is slow.
    #[must_use]
    pub fn admits(&self, login: &[u8]) -> bool {
        let Some(given) = digest(login, &self.salt.0) else {
            return false;
        };
        let is_one = |known: &Bytes<32>| known.0.ct_eq(&given.0);
        let found = self.digests.iter().map(is_one);
        found
            .fold(Choice::from(0), |found, is_one| found | is_one)
            .into()
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logins({})", self.count())
    }
}

/// Argon2id (RFC 9106) with fixed parameters: no client can make a relay's work dearer.
fn digest(login: &[u8], salt: &[u8; 16]) -> Option<Bytes<32>> {
    if login.len() > LONGEST {
        return None;
    }
    let params = Params::new(MEMORY, PASSES, 1, None).ok()?;
    let mut memory = vec![Block::new(); params.block_count()];
    let mut digest = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(login, salt, &mut digest, &mut memory)
        .ok()?;
    Some(Bytes(digest))
}

/// KiB of memory, and passes over it: what OWASP's Password Storage Cheat Sheet recommends.
const MEMORY: u32 = 19 << 10;
const PASSES: u32 = 2;

/// Bytes of a user and a password together.
const LONGEST: usize = 256;

/// Bytes that are written in base64.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> From<Bytes<N>> for String {
    fn from(bytes: Bytes<N>) -> Self {
        BASE64_URL_SAFE_NO_PAD.encode(bytes.0)
    }
}

impl<const N: usize> TryFrom<String> for Bytes<N> {
    type Error = BadRules;

    fn try_from(text: String) -> Result<Self, BadRules> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| BadRules::Field)?;
        bytes.try_into().map(Self).map_err(|_| BadRules::Field)
    }
}

#[cfg(test)]
mod tests {
    use super::{BadRules, Login, Logins};

    #[test]
    fn admit_who_they_are_of_and_nobody_else() {
        let logins = ["ana:s3cret", "bö:two:colons"].map(|login| login.parse::<Login>().unwrap());
        let logins = Logins::new(&logins).unwrap();
        assert_eq!(logins.count(), 2);
        assert!(logins.admits(b"ana:s3cret") && logins.admits("bö:two:colons".as_bytes()));
        let long = "x".repeat(257);
        for wrong in [
            "",
            ":",
            "ana",
            "ana:",
            "ana:s3cre",
            "ana:s3crets",
            "bö:s3cret",
            &long,
        ] {
            assert!(!logins.admits(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn are_salted() {
        let login = ["ana:s3cret".parse::<Login>().unwrap()];
        let (one, other) = (Logins::new(&login).unwrap(), Logins::new(&login).unwrap());
        assert!(one.salt.0 != other.salt.0 && one.digests[0].0 != other.digests[0].0);
    }

    #[test]
    fn hide_and_name_what_they_are_of() {
        let login: Login = "ana:s3cret".parse().unwrap();
        assert_eq!(format!("{login:?}"), "Login(..)");
        let long = format!("ana:{}", "x".repeat(253));
        for bad in [
            "",
            "ana",
            ":",
            "ana:",
            ":s3cret",
            "ana:s3\ncret",
            "\0a:b",
            &long,
        ] {
            assert_eq!(bad.parse::<Login>(), Err(BadRules::Login), "{bad:?}");
        }
    }
}
