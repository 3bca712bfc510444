//! `token new`: makes a token and the entry that a file of tokens has of it.

use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ggrok_server::Pattern;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cli::NewToken;

/// A file with one entry.
#[derive(Serialize)]
struct File {
    token: [Entry; 1],
}

#[derive(Serialize)]
struct Entry {
    owner: String,
    sha256: String,
    names: Vec<String>,
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<toml::value::Datetime>,
}

/// Prints the entry to standard output, which may be appended to the file, and the token to standard
/// error, which is shown once and kept nowhere.
pub(crate) fn new(new: &NewToken) -> anyhow::Result<()> {
    ensure!(
        !new.owner.is_empty(),
        "--owner is empty: whose is the token?"
    );
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no random bytes")?;
    // The start tells people, and programs that look for leaked secrets, what it is.
    let token = format!("ggrok_{}", BASE64URL_NOPAD.encode(&random));
    print!("\n{}", entry(new, &token, SystemTime::now())?);
    eprintln!(
        "\nThe token of {}, which is shown this once:\n\n  {token}\n\nAppend the entry above to the \
         file of --tokens-file; a relay that runs reads it within 3 s.",
        new.owner
    );
    Ok(())
}

fn entry(new: &NewToken, token: &str, now: SystemTime) -> anyhow::Result<String> {
    let expires = new.expires_in.map(|time| {
        let at = now.checked_add(time).filter(|at| *at < last());
        let at = at.context("--expires-in is too long")?;
        let at = humantime::format_rfc3339_seconds(at).to_string();
        at.parse().context("--expires-in is too long")
    });
    let entry = Entry {
        owner: new.owner.clone(),
        sha256: HEXLOWER.encode(&Sha256::digest(token)),
        names: texts(&new.names),
        hosts: texts(&new.hosts),
        expires: expires.transpose()?,
    };
    Ok(toml::to_string(&File { token: [entry] })?)
}

/// The end of the year 9999, which is as far as a written time goes.
fn last() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}

fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::entry;
    use crate::cli::NewToken;
    use std::time::{Duration, SystemTime};

    fn new(expires_in: Duration) -> NewToken {
        NewToken {
            owner: "an\"a".to_owned(),
            names: vec!["*".parse().unwrap()],
            hosts: Vec::new(),
            expires_in: Some(expires_in),
        }
    }

    #[test]
    fn writes_an_entry_that_expires() {
        let year = Duration::from_secs(365 * 86400);
        let written = entry(&new(year), "ggrok_x", SystemTime::UNIX_EPOCH).unwrap();
        assert!(
            written.contains("expires = 1971-01-01T00:00:00Z"),
            "{written}"
        );
        assert!(!written.contains("ggrok_x"), "{written}");
        assert!(entry(&new(year * 9000), "ggrok_x", SystemTime::now()).is_err());
        assert!(entry(&new(Duration::MAX), "ggrok_x", SystemTime::now()).is_err());
    }
}
