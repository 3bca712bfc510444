//! The relay: its address, and what makes both sides trust each other.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use ggrok_client::{RelayAddress, Token};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::settings::Settings;

/// What makes the relay and the client trust each other.
#[derive(Args)]
#[command(next_help_heading = "Relay")]
pub(super) struct RelayArgs {
    /// The relay's token
    #[arg(
        long,
        aliases = ["apikey", "authtoken"],
        env = "GGROK_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,

    /// A PEM file with certificate authorities to trust besides the system's
    #[arg(long, env = "GGROK_CA_CERT", value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

impl RelayArgs {
    /// The token for this relay: the one that was given, or else the saved one, where it is this relay's.
    pub(super) fn token(
        &self,
        relay: &RelayAddress,
        saved: &Settings,
    ) -> anyhow::Result<Option<Token>> {
        let given = self.token.as_deref();
        checked_token(given.or_else(|| saved.token_for(relay)))
    }

    /// The certificate authorities to trust besides the system's.
    pub(super) fn authorities(&self) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        self.ca_cert.as_deref().map_or(Ok(Vec::new()), authorities)
    }
}

/// Certificate authorities of a file.
fn authorities(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let authorities: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is no PEM file", path.display()))?;
    if authorities.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(authorities)
}

/// A token that a field can hold.
fn checked_token(token: Option<&str>) -> anyhow::Result<Option<Token>> {
    let text = token.unwrap_or_default().trim();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("the token has a character that no token has; copy it again");
    }
    Ok(token.and_then(Token::new))
}

/// The relay that was given, or else the saved one.
pub(super) fn relay(given: Option<&str>, saved: &Settings) -> anyhow::Result<RelayAddress> {
    let Some(server) = given.or(saved.server.as_deref()) else {
        bail!("which relay? Give it with --server HOST, or save it: ggrok-client login HOST");
    };
    relay_address(server)
}

/// What a person is told whose token goes to this relay; nothing where nobody else can read it.
pub(crate) fn token_warning(relay: &RelayAddress, token: Option<&Token>) -> Option<String> {
    let is_in_the_clear = token.is_some() && !relay.is_secure() && !relay.is_loopback();
    is_in_the_clear.then(|| {
        format!("the token goes to {relay} in the clear, for everybody on the way to read")
    })
}

/// Reads the address of a relay.
pub(crate) fn relay_address(server: &str) -> anyhow::Result<RelayAddress> {
    let address = server.parse();
    address.with_context(|| format!("{server:?} is no address of a relay"))
}

#[cfg(test)]
mod tests {
    use super::{Token, token_warning};

    #[test]
    fn warns_where_others_can_read_the_token() {
        let token = Token::new("s3cret");
        for (relay, token, warns) in [
            ("ws://a.example", token.as_ref(), true),
            ("ws://a.example", None, false),
            ("a.example", token.as_ref(), false),
            ("localhost:1", token.as_ref(), false),
        ] {
            let warning = token_warning(&relay.parse().unwrap(), token);
            assert_eq!(warning.is_some(), warns, "{relay} {warning:?}");
            assert!(!warning.unwrap_or_default().contains("s3cret"));
        }
    }
}
