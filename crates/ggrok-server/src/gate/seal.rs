//! What only this relay can write.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A key of this relay's, for as long as it runs.
pub(super) struct Seal(Hmac<Sha256>);

impl Seal {
    pub(super) fn new() -> Self {
        let key: [u8; 32] = random();
        Self(Hmac::new_from_slice(&key).expect("a key may have any length"))
    }

    /// Seals parts, of which only the last one may be of any length.
    pub(super) fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Random bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
