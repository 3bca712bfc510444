//! Tokens and whose they are: one of the environment's, and those of a file that may change.

mod file;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use std::{fmt, io};

use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use self::file::BadTokens;
use crate::access::take_token;
use crate::attempts::Strength;
use crate::grant::Reservation;
use crate::{Authenticate, Denied, Grant};

/// The SHA-256 of a token. The token itself is not kept.
pub(crate) type Digest = [u8; 32];

/// Tokens and what they grant. Clones are the same tokens.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    /// The one that grants everything, where there is one.
    master: Option<Digest>,
    path: Option<PathBuf>,
    table: RwLock<Table>,
}

/// What a file held when it was last read.
#[derive(Default)]
struct Table {
    text: String,
    tokens: HashMap<Digest, Token>,
    /// Hosts and names that an entry grants in full. No other owner gets them.
    reserved: Arc<Vec<Reservation>>,
}

/// What one token grants.
struct Token {
    grant: Grant,
    /// The entry of the file that it stands for. Where that has changed, what was granted before
    /// ends.
    entry: file::Entry,
    revoked: CancellationToken,
}

impl Tokens {
    /// One token, which grants everything to one owner.
    #[must_use]
    pub fn one(token: &str) -> Self {
        Self::new(Some(token), None, Table::default())
    }

    /// Reads the tokens of a file, and takes `master` for one that grants everything besides. The
    /// file is read again while [`watch`](Self::watch) runs.
    ///
    /// # Errors
    /// Where the file cannot be read, or is no file of tokens.
    pub fn open(path: PathBuf, master: Option<&str>) -> Result<Self, TokensError> {
        let text = read(&path)?;
        let entries = file::parse(&text)?;
        let table = Table {
            reserved: reserved(&entries),
            tokens: entries.into_iter().map(Token::new).collect(),
            text,
        };
        Ok(Self::new(master, Some(path), table))
    }

    /// Whether a token can be guessed, as far as its text tells: it is short, or has few different
    /// characters.
    #[must_use]
    pub fn is_weak(token: &str) -> bool {
        Strength::of(token.as_bytes()) == Strength::Weak
    }

    fn new(master: Option<&str>, path: Option<PathBuf>, table: Table) -> Self {
        let master = master.map(|token| digest(token.as_bytes()));
        Self(Arc::new(Inner {
            master,
            path,
            table: RwLock::new(table),
        }))
    }

    /// Reads the file again whenever it changes, for as long as it is awaited. A token that is gone
    /// or grants something else ends the tunnels that were registered with it. A file that is
    /// damaged, missing or empty changes nothing, and is logged.
    pub async fn watch(&self) -> Infallible {
        let Some(path) = self.0.path.clone() else {
            return std::future::pending().await;
        };
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        let mut complained = None;
        loop {
            rounds.tick().await;
            let reading = path.clone();
            let Ok(text) = spawn_blocking(move || read(&reading)).await else {
                continue;
            };
            let changed = match text {
                // Not before it stays what it is: somebody may be writing it.
                Ok(text) if before.as_ref() != Some(&text) => {
                    before = Some(text);
                    continue;
                }
                Ok(text) => self.take(text),
                Err(error) => Err(error),
            };
            let complaint = changed.err().map(|error| error.to_string());
            if let Some(error) = complaint.as_ref().filter(|_| complaint != complained) {
                let path = path.display();
                tracing::error!(%path, error, "the tokens stay what they were");
            }
            complained = complaint;
        }
    }

    /// Takes the text of the file over, where it has changed.
    fn take(&self, text: String) -> Result<(), TokensError> {
        if self.table().text == text {
            return Ok(());
        }
        let entries = file::parse(&text)?;
        if entries.is_empty() {
            return Err(TokensError::Empty);
        }
        let reserved = reserved(&entries);
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut table.tokens);
        for entry in entries {
            // One that says what it said goes on to grant what it has granted.
            let same = before
                .get(&entry.digest)
                .is_some_and(|token| token.entry == entry);
            let (digest, token) = match before.remove_entry(&entry.digest) {
                Some(same_token) if same => same_token,
                Some((digest, changed)) => {
                    changed.revoked.cancel();
                    (digest, Token::new(entry).1)
                }
                None => Token::new(entry),
            };
            table.tokens.insert(digest, token);
        }
        table.text = text;
        table.reserved = reserved;
        let tokens = table.tokens.len();
        drop(table);
        for gone in before.values() {
            gone.revoked.cancel();
        }
        tracing::info!(tokens, gone = before.len(), "read the tokens again");
        Ok(())
    }

    /// What a token grants.
    fn grant(&self, token: &[u8]) -> Option<Grant> {
        // An app that was configured with nothing must not let everybody in.
        if token.is_empty() {
            return None;
        }
        let given = digest(token);
        let is_master = |master: Digest| bool::from(master.ct_eq(&given));
        if self.0.master.is_some_and(is_master) {
            return Some(Grant::operator());
        }
        // By a digest, which nobody can choose: how long the look-up takes tells nothing.
        let table = self.table();
        let grant = table.tokens.get(&given)?.grant.clone();
        Some(grant.with_reserved(Arc::clone(&table.reserved)))
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reserved(entries: &[file::Entry]) -> Arc<Vec<Reservation>> {
    Arc::new(entries.iter().flat_map(file::Entry::reserved).collect())
}

impl Token {
    fn new(entry: file::Entry) -> (Digest, Self) {
        let revoked = CancellationToken::new();
        let token = Self {
            grant: entry.grant().unless_cancelled(revoked.clone()),
            revoked,
            entry,
        };
        (token.entry.digest, token)
    }
}

impl Authenticate for Tokens {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        let token = take_token(&mut request.headers).ok_or(Denied::NoToken)?;
        self.grant(token.as_bytes()).ok_or(Denied::WrongToken)
    }

    fn is_cheap(&self) -> bool {
        true
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file is no file of tokens.
    #[error(transparent)]
    Bad(#[from] BadTokens),
    /// The file held tokens, and is empty now.
    #[error(
        "has no entry any more; to revoke the last token let it expire, or start the relay again"
    )]
    Empty,
}

/// The digest of a token.
pub(crate) fn digest(token: &[u8]) -> Digest {
    Sha256::digest(token).into()
}

fn read(path: &std::path::Path) -> Result<String, TokensError> {
    Ok(std::fs::read_to_string(path)?)
}

/// How often the file is looked at: a revoked token has to end its tunnels within 5 s, and a change is
/// seen twice before it counts.
const ROUND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{Tokens, digest};
    use crate::{Authenticate, Denied};
    use data_encoding::HEXLOWER;
    use http::Request;

    fn file(entries: &[(&str, &str)]) -> String {
        let entry = |(owner, token): &(&str, &str)| {
            let sha256 = HEXLOWER.encode(&digest(token.as_bytes()));
            format!("[[token]]\nowner = \"{owner}\"\nsha256 = \"{sha256}\"\n")
        };
        entries.iter().map(entry).collect()
    }

    async fn owner(tokens: &Tokens, token: &str) -> Result<String, Denied> {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let grant = tokens.authenticate(&mut head).await?;
        Ok(grant.owner().to_string())
    }

    #[tokio::test]
    async fn knows_whose_each_token_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, file(&[("ana", "k1"), ("ben", "k2"), ("ana", "k3")])).unwrap();
        let tokens = Tokens::open(path, Some("m")).unwrap();
        for (token, expected) in [
            ("k1", "ana"),
            ("k2", "ben"),
            ("k3", "ana"),
            ("m", "default"),
        ] {
            assert_eq!(owner(&tokens, token).await.unwrap(), expected);
        }
        assert_eq!(owner(&Tokens::one(""), "").await, Err(Denied::WrongToken));
        for wrong in ["k", "k11", "K1", ""] {
            assert_eq!(
                owner(&tokens, wrong).await,
                Err(Denied::WrongToken),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn ends_what_was_granted_by_an_entry_that_is_gone_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let before = file(&[("ana", "k1"), ("ben", "k2"), ("cleo", "k3")]);
        std::fs::write(&path, before).unwrap();
        let tokens = Tokens::open(path, None).unwrap();
        let granted = ["k1", "k2", "k3"].map(|token| tokens.grant(token.as_bytes()).unwrap());

        for damaged in ["no TOML", "", "# nobody\n"] {
            tokens.take(damaged.to_owned()).unwrap_err();
        }
        assert!(granted.iter().all(|grant| !grant.is_over()));

        let after = file(&[("ben", "k2"), ("dora", "k3")]);
        tokens.take(after).unwrap();
        assert_eq!(granted.map(|grant| grant.is_over()), [true, false, true]);
        assert_eq!(owner(&tokens, "k1").await, Err(Denied::WrongToken));
        assert_eq!(owner(&tokens, "k3").await.unwrap(), "dora");
    }

    #[test]
    fn never_shows_a_token() {
        assert_eq!(format!("{:?}", Tokens::one("s3cret")), "Tokens(..)");
    }
}
