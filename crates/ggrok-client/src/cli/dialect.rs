//! What is spoken with the relay.

use anyhow::bail;
use clap::{Args, ValueEnum};
use ggrok_client::{Claim, Dialect};

/// What to speak with the relay.
#[derive(Args)]
#[command(next_help_heading = "Relay")]
pub(super) struct DialectArgs {
    /// What to speak with the relay; by itself the best that both know
    #[arg(
        long,
        env = "GGROK_DIALECT",
        default_value = "auto",
        value_name = "DIALECT"
    )]
    dialect: DialectChoice,
}

/// What is spoken with the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DialectChoice {
    /// The best that the relay knows
    Auto,
    /// Many requests at once, streamed; WebSockets
    #[value(name = "ggrok.v2")]
    V2,
    /// The original's: one request at a time
    Ggrok,
    /// The original's of mirrors: one request at a time
    MagicMirror,
}

impl DialectArgs {
    /// The one dialect to speak; none where the best is.
    pub(super) fn read(&self, claim: &Claim) -> anyhow::Result<Option<Dialect>> {
        let dialect = match self.dialect {
            DialectChoice::Auto => return Ok(None),
            DialectChoice::V2 => Dialect::V2,
            DialectChoice::Ggrok => Dialect::Ggrok,
            DialectChoice::MagicMirror => Dialect::MagicMirror,
        };
        if !claim.speaks(dialect) {
            let (what, original) = match claim {
                Claim::Mirror(_) => ("a --name", claim.original()),
                Claim::Host | Claim::OtherHost(_) => ("a host", claim.original()),
            };
            bail!("{dialect} is not spoken for {what}: use --dialect {original}, ggrok.v2 or auto");
        }
        Ok(Some(dialect))
    }
}
