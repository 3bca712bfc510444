//! What `login` and `config` save: the relay and its token, in a file of the user's own.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, anyhow};
use etcetera::BaseStrategy;
use ggrok_client::RelayAddress;
use serde::{Deserialize, Serialize};

/// The saved settings.
#[derive(Clone, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The relay, as `--server` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// What this relay asks of its clients; no other is ever sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

/// Where settings are saved: `$GGROK_CONFIG`, or `ggrok/config.toml` in the user's directory for
/// configuration (`$XDG_CONFIG_HOME` or `~/.config`; `%APPDATA%` on Windows).
pub(crate) fn path() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("GGROK_CONFIG") {
        return Ok(path.into());
    }
    let directories = etcetera::choose_base_strategy().context("there is no home directory")?;
    Ok(directories.config_dir().join("ggrok").join("config.toml"))
}

impl Settings {
    /// Reads the saved settings. Where no relay is saved, it is the one in `~/.ggrok`, where the
    /// original ggrok keeps it.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let mut settings = Self::read(&path()?)?;
        if settings.server.is_none() {
            settings.server = originals_server()?;
            // Whose token it would be, nobody knows.
            settings.token = None;
        }
        Ok(settings)
    }

    /// The saved token, where this is the saved relay: it goes to no other.
    pub(crate) fn token_for(&self, relay: &RelayAddress) -> Option<&str> {
        let saved: RelayAddress = self.server.as_deref()?.parse().ok()?;
        self.token.as_deref().filter(|_| saved.is_same(relay))
    }

    /// Sets the relay, or none, and forgets the token of another. Returns whether there was one.
    pub(crate) fn set_server(&mut self, server: Option<String>) -> bool {
        let is_same = is_same_relay(self.server.as_deref(), server.as_deref());
        self.server = server;
        !is_same && self.token.take().is_some()
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = read_if_there(path)?.unwrap_or_default();
        toml::from_str(&text).map_err(|error| {
            // Nothing of the error itself: it quotes what stands there, which may be a token.
            let before = error.span().map_or("", |span| &text[..span.start]);
            let line = before.matches('\n').count() + 1;
            let path = path.display();
            anyhow!("{path} is damaged at line {line}; mend it, or delete it and log in again")
        })
    }

    /// Changes the saved settings.
    pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Self)) -> anyhow::Result<()> {
        let mut settings = Self::read(path)?;
        change(&mut settings);
        settings
            .write(path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes beside the file and renames, so that it is whole at any time, and readable by its
    /// owner alone from the first byte on.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self)?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = path.with_extension("new");
        // A leftover of a crash would keep its old mode.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut file = private_file(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        Ok(())
    }
}

fn is_same_relay(one: Option<&str>, other: Option<&str>) -> bool {
    let address = |server: Option<&str>| server?.parse::<RelayAddress>().ok();
    matches!((address(one), address(other)), (Some(one), Some(other)) if one.is_same(&other))
}

#[cfg(unix)]
fn private_file(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// On Windows a user's directory is already closed to other users.
#[cfg(not(unix))]
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::File::create_new(path)
}

fn originals_server() -> anyhow::Result<Option<String>> {
    let Ok(home) = etcetera::home_dir() else {
        return Ok(None);
    };
    let text = read_if_there(&home.join(".ggrok"))?;
    Ok(text
        .map(|text| text.trim().to_owned())
        .filter(|server| !server.is_empty()))
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn keeps_what_is_not_changed_and_keeps_it_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/config.toml");
        Settings::change(&path, |saved| saved.token = Some("s\"3".to_owned())).unwrap();
        Settings::change(&path, |saved| saved.server = Some("a.example".to_owned())).unwrap();
        let saved = Settings::read(&path).unwrap();
        assert_eq!(saved.server.as_deref(), Some("a.example"));
        assert_eq!(saved.token.as_deref(), Some("s\"3"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn forgets_the_token_of_a_relay_that_it_leaves() {
        for (old, new, is_forgotten) in [
            ("a.example", Some("a.example"), false),
            ("a.example", Some("https://A.example/"), false),
            ("a.example", Some("a.example:443"), false),
            ("a.example", Some("b.example"), true),
            ("a.example", Some("ws://a.example"), true),
            ("a.example", Some("a.example:8443"), true),
            ("a.example", None, true),
            ("damaged / ", Some("damaged / "), true),
        ] {
            let mut saved = Settings {
                server: Some(old.to_owned()),
                token: Some("s3cret".to_owned()),
            };
            let new = new.map(ToOwned::to_owned);
            assert_eq!(saved.set_server(new.clone()), is_forgotten, "{new:?}");
            assert_eq!(saved.token.is_none(), is_forgotten, "{new:?}");
            assert_eq!(saved.server, new);
        }
        let mut unbound = Settings {
            server: None,
            token: Some("s3cret".to_owned()),
        };
        assert!(unbound.set_server(Some("a.example".to_owned())));
        assert!(unbound.token.is_none());
    }

    #[test]
    fn gives_the_token_to_its_relay_alone_however_it_is_spelled() {
        for (saved, relay, is_given) in [
            ("a.example", "a.example", true),
            ("a.example", "https://A.example/", true),
            ("https://a.example/", "wss://a.example:443", true),
            ("ws://a.example", "http://a.example", true),
            ("a.example", "ws://a.example", false),
            ("wss://a.example", "http://a.example:443", false),
            ("ws://a.example", "a.example", false),
            ("a.example", "a.example:8443", false),
            ("a.example", "b.example", false),
            ("localhost:1", "wss://localhost:1", false),
            ("damaged / ", "a.example", false),
        ] {
            let saved = Settings {
                server: Some(saved.to_owned()),
                token: Some("s3cret".to_owned()),
            };
            let given = saved.token_for(&relay.parse().unwrap());
            let expected = is_given.then_some("s3cret");
            assert_eq!(given, expected, "{:?} {relay}", saved.server);
        }
        let unbound = Settings {
            server: None,
            token: Some("s3cret".to_owned()),
        };
        assert_eq!(unbound.token_for(&"a.example".parse().unwrap()), None);
    }

    #[test]
    fn says_where_a_file_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        for damaged in [
            "token = \"s3cret\" x",
            "s3cret = 1",
            "token = [\"s3cret\"]",
            "token = 53137",
        ] {
            std::fs::write(&path, format!("# mine\n{damaged}")).unwrap();
            let Err(error) = Settings::read(&path) else {
                panic!("it was read");
            };
            let text = format!("{error:#}");
            assert!(text.contains("config.toml is damaged at line 2"), "{text}");
            assert!(
                !text.contains("s3cret") && !text.contains("53137"),
                "{text}"
            );
        }
    }
}
