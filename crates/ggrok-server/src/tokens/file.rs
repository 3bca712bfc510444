//! A file of tokens: TOML, with the SHA-256 of each token and never the token.

use std::collections::HashSet;
use std::time::SystemTime;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use toml::value::Datetime;

use super::Digest;
use crate::grant::Reservation;
use crate::{Grant, Owner, Pattern};

/// One entry: a token by its digest, and what it grants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    owner: String,
    names: Vec<Pattern>,
    hosts: Vec<Pattern>,
    expires: Option<SystemTime>,
}

impl Entry {
    /// The hosts and names that it grants in full.
    pub(super) fn reserved(&self) -> impl Iterator<Item = Reservation> {
        let owner = Owner::new(&self.owner);
        let hosts = self.hosts.iter().map(|host| (host, true));
        let names = self.names.iter().map(|name| (name, false));
        hosts.chain(names).filter_map(move |(pattern, is_host)| {
            Some(Reservation {
                text: pattern.exact()?.to_owned(),
                is_host,
                owner: owner.clone(),
            })
        })
    }

    pub(super) fn grant(&self) -> Grant {
        let grant = Grant::new(Owner::new(&self.owner))
            .with_names(self.names.clone())
            .with_hosts(self.hosts.clone());
        match self.expires {
            Some(expires) => grant.until(expires),
            None => grant,
        }
    }
}

/// Why a text is no file of tokens.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTokens {
    /// It is not TOML, or has something else than tokens in it.
    #[error(
        "is damaged at line {line}: see that every entry has the form of `ggrok-server token new`"
    )]
    Toml {
        /// The line, from 1.
        line: usize,
    },
    /// An entry is wrong.
    #[error("has a wrong entry, number {number} of owner {owner:?}: {wrong}")]
    Entry {
        /// The place of the entry, from 1.
        number: usize,
        /// Whose it is.
        owner: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Written>,
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    owner: String,
    sha256: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    hosts: Vec<String>,
    expires: Option<Datetime>,
}

/// Reads the entries of a file.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, BadTokens> {
    let file: File = toml::from_str(text).map_err(|error| {
        // Nothing of the error itself: it quotes what stands there, which may be a token.
        let before = error.span().map_or("", |span| &text[..span.start]);
        let line = before.matches('\n').count() + 1;
        BadTokens::Toml { line }
    })?;
    let mut digests = HashSet::new();
    let mut entries = Vec::new();
    for (index, written) in file.token.into_iter().enumerate() {
        let owner = written.owner.clone();
        let wrong = |wrong| BadTokens::Entry {
            number: index + 1,
            owner: owner.clone(),
            wrong,
        };
        let entry = read(written).map_err(wrong)?;
        if !digests.insert(entry.digest) {
            return Err(wrong("another entry has this sha256 too"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn read(written: Written) -> Result<Entry, &'static str> {
    if written.owner.is_empty() {
        return Err("owner is empty");
    }
    let digest = HEXLOWER_PERMISSIVE
        .decode(written.sha256.as_bytes())
        .ok()
        .and_then(|bytes| Digest::try_from(bytes).ok())
        .ok_or("sha256 must have 64 hexadecimal digits")?;
    if digest == super::digest(b"") {
        return Err("sha256 is that of an empty token, which is none");
    }
    Ok(Entry {
        digest,
        owner: written.owner,
        names: patterns(&written.names)
            .ok_or("a pattern in names is no text with at most one *")?,
        hosts: patterns(&written.hosts)
            .ok_or("a pattern in hosts is no text with at most one *")?,
        expires: written.expires.map(expiry).transpose()?,
    })
}

fn patterns(written: &[String]) -> Option<Vec<Pattern>> {
    written.iter().map(|pattern| pattern.parse().ok()).collect()
}

fn expiry(written: Datetime) -> Result<SystemTime, &'static str> {
    humantime::parse_rfc3339(&written.to_string())
        .map_err(|_| "expires must be a time in UTC, like 2030-01-31T12:00:00Z")
}

#[cfg(test)]
mod tests {
    use super::{BadTokens, parse};

    const SHA256: &str = "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B";

    fn wrong(entry: &str) -> &'static str {
        let Err(BadTokens::Entry {
            number: 1, wrong, ..
        }) = parse(entry)
        else {
            panic!("it was read, or refused otherwise: {:?}", parse(entry));
        };
        wrong
    }

    #[test]
    fn reads_what_a_token_grants() {
        let entries = parse(&format!(
            "[[token]]\nowner = \"ana\"\nsha256 = \"{SHA256}\"\nnames = [\"*\"]\n\
             hosts = [\"*.ana.example\"]\nexpires = 2030-01-31T12:00:00Z\n"
        ));
        let entries = entries.unwrap();
        let grant = entries[0].grant();
        assert_eq!(grant.owner().as_str(), "ana");
        assert!(grant.allows_name(&"x".parse().unwrap()));
        assert!(!grant.is_over());
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn says_which_entry_is_wrong() {
        let entry = |more: &str| format!("[[token]]\nowner = \"a\"\nsha256 = \"{SHA256}\"\n{more}");
        assert!(wrong("[[token]]\nowner = \"a\"\nsha256 = \"00\"").contains("64"));
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let empty = format!("[[token]]\nowner = \"a\"\nsha256 = \"{empty}\"");
        assert!(wrong(&empty).contains("empty token"));
        assert!(
            wrong(&format!("[[token]]\nowner = \"\"\nsha256 = \"{SHA256}\"")).contains("owner")
        );
        assert!(wrong(&entry("names = [\"a*b*\"]")).contains("names"));
        assert!(wrong(&entry("hosts = [\"\"]")).contains("hosts"));
        assert!(wrong(&entry("expires = 2030-01-31")).contains("UTC"));
        let twice = entry("") + &entry("");
        let Err(BadTokens::Entry { number: 2, .. }) = parse(&twice) else {
            panic!("a digest stands there twice");
        };
    }

    #[test]
    fn names_the_line_and_shows_nothing_of_it() {
        for (text, line) in [
            ("[[token]]\nowner = \"a\"\ntoken = \"s3cret\"", 3),
            ("# mine\ntoken = \"s3cret\"", 2),
            ("[[token]]\nnames = \"s3cret\"", 2),
            ("[[token]]\ns3cret = 1", 2),
            ("s3cret", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, BadTokens::Toml { line }, "{text}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
