//! Who may register, as the command line and the environment say.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::FalseyValueParser;
use ggrok_server::Tokens;

/// Who may register.
#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Token that clients must give to register; it allows everything
    #[arg(
        long,
        env = "GGROK_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<Secret>,

    /// TOML file with the tokens of several owners; read again when it changes. Make entries with
    /// `ggrok-server token new`
    #[arg(long, env = "GGROK_TOKENS_FILE", value_name = "FILE")]
    tokens_file: Option<PathBuf>,

    /// Let anybody register, as the original ggrok did, and reach, list and close every mirror
    #[arg(long, env = "GGROK_OPEN", value_parser = FalseyValueParser::new())]
    open: bool,

    /// Wrong tokens that an address may give in a minute; then it has to wait
    #[arg(
        long,
        env = "GGROK_WRONG_TOKENS",
        default_value_t = 10,
        value_name = "COUNT"
    )]
    pub(super) wrong_tokens: u32,
}

/// A token, hidden wherever settings are shown.
#[derive(Clone)]
pub(super) struct Secret(String);

impl From<&str> for Secret {
    fn from(token: &str) -> Self {
        Self(token.trim().to_owned())
    }
}

impl Secret {
    /// The token; a platform that sets an empty variable has set none.
    pub(super) fn given(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|token| !token.is_empty())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl AccessArgs {
    /// Whether the relay has the tokens of several owners.
    pub(super) fn has_owners(&self) -> bool {
        self.file().is_some()
    }

    /// The file of tokens.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        let file = self.tokens_file.as_ref();
        file.filter(|path| !path.as_os_str().is_empty())
    }

    /// The token that allows everything.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_ref().and_then(Secret::given)
    }

    /// The tokens that the relay knows, or none where it is open.
    pub(crate) fn tokens(&self) -> anyhow::Result<Option<Tokens>> {
        match (self.token(), self.file(), self.open) {
            (token, Some(path), false) => Tokens::open(path.clone(), token)
                .with_context(|| format!("the file of tokens {}", path.display()))
                .map(Some),
            (Some(token), None, false) => Ok(Some(Tokens::one(token))),
            (None, None, true) => Ok(None),
            (None, None, false) => bail!(
                "who may register? Give a token that clients must have, with --token or \
                 GGROK_TOKEN, or the tokens of several owners, with --tokens-file, or let anybody \
                 in, with --open or GGROK_OPEN=true"
            ),
            (_, _, true) => bail!(
                "tokens and --open contradict each other: give --token (GGROK_TOKEN) or \
                 --tokens-file (GGROK_TOKENS_FILE), or --open (GGROK_OPEN)"
            ),
        }
    }
}
