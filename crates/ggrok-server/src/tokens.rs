//! Tokens and whose they are: one of the environment's, and those of a file that may change.

mod file;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io};

use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use self::file::BadTokens;
use crate::access::take_token;
use crate::{Authenticate, Denied, Grant};

/// The SHA-256 of a token. The token itself is not kept.
pub(crate) type Digest = [u8; 32];

/// Tokens and what they grant. Clones are the same tokens.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    /// The one that grants everything, where there is one.
    master: Option<Token>,
    path: Option<PathBuf>,
    table: RwLock<Table>,
}

/// What a file held when it was last read.
#[derive(Default)]
struct Table {
    text: String,
    tokens: Vec<Token>,
}

/// One token, by its digest.
#[derive(Clone)]
struct Token {
    digest: Digest,
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
        let tokens = file::parse(&text)?.into_iter().map(Token::new).collect();
        Ok(Self::new(master, Some(path), Table { text, tokens }))
    }

    fn new(master: Option<&str>, path: Option<PathBuf>, table: Table) -> Self {
        let master = master.map(|token| Token {
            digest: digest(token.as_bytes()),
            grant: Grant::everything(),
            entry: file::Entry::default(),
            revoked: CancellationToken::new(),
        });
        Self(Arc::new(Inner {
            master,
            path,
            table: RwLock::new(table),
        }))
    }

    /// Reads the file again whenever it changes, for as long as it is awaited. A token that is gone
    /// or granted something else ends the tunnels that were registered with it. A file that is
    /// damaged or missing changes nothing, and is logged.
    pub async fn watch(&self) -> Infallible {
        let Some(path) = self.0.path.clone() else {
            return std::future::pending().await;
        };
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = None;
        loop {
            rounds.tick().await;
            let reading = path.clone();
            let read = tokio::task::spawn_blocking(move || read(&reading)).await;
            let changed = match read {
                Ok(read) => read.and_then(|text| self.take(text)),
                Err(_) => continue,
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
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.text == text {
            return Ok(());
        }
        let entries = file::parse(&text)?;
        let mut before = std::mem::take(&mut table.tokens);
        for entry in entries {
            // One that says what it said goes on to grant what it has granted.
            let same = before.iter().position(|token| token.entry == entry);
            let token = match same {
                Some(index) => before.swap_remove(index),
                None => Token::new(entry),
            };
            table.tokens.push(token);
        }
        table.text = text;
        let tokens = table.tokens.len();
        drop(table);
        for gone in &before {
            gone.revoked.cancel();
        }
        tracing::info!(tokens, ended = before.len(), "read the tokens again");
        Ok(())
    }

    /// What a token grants. Each is compared, in the same time for each, so that the time taken tells
    /// nothing of any.
    fn grant(&self, token: &[u8]) -> Option<Grant> {
        let given = digest(token);
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let known = self.0.master.iter().chain(&table.tokens);
        let mut found = None;
        for token in known {
            if bool::from(token.digest.ct_eq(&given)) {
                found = Some(&token.grant);
            }
        }
        found.cloned()
    }
}

impl Token {
    fn new(entry: file::Entry) -> Self {
        let revoked = CancellationToken::new();
        Self {
            digest: entry.digest,
            grant: entry.grant().unless_cancelled(revoked.clone()),
            entry,
            revoked,
        }
    }
}

impl Authenticate for Tokens {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        let token = take_token(&mut request.headers).ok_or(Denied::NoToken)?;
        self.grant(token.as_bytes()).ok_or(Denied::WrongToken)
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
}

/// The digest of a token.
pub(crate) fn digest(token: &[u8]) -> Digest {
    Sha256::digest(token).into()
}

fn read(path: &std::path::Path) -> Result<String, TokensError> {
    Ok(std::fs::read_to_string(path)?)
}

/// How often the file is looked at: a revoked token has to end its tunnels within 5 s.
const ROUND: Duration = Duration::from_secs(2);

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

        tokens.take("no TOML".to_owned()).unwrap_err();
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
