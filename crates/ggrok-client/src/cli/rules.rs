//! Which visitors are let in: `--basic-auth`, `--allow-cidr`, `--allow-path` and `--links-only`.

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::FalseyValueParser;
use ggrok_client::{BadRules, Login, Logins, Network, PathPrefix, Rules};

/// Which visitors are let in. They have to meet every kind of rule that is given.
#[derive(Args, Clone)]
#[command(next_help_heading = "Visitors")]
pub(super) struct RulesArgs {
    /// Ask visitors for this user and password; may be given several times, and in the variable one a
    /// line. In the variable nobody else on this machine can see it
    // Text here, since clap shows what it cannot read.
    #[arg(
        long,
        env = "GGROK_BASIC_AUTH",
        hide_env_values = true,
        value_name = "USER:PASSWORD"
    )]
    basic_auth: Vec<String>,

    /// Let in visitors from these addresses alone, like 203.0.113.0/24 or 2001:db8::/32; may be given
    /// several times
    #[arg(
        long,
        env = "GGROK_ALLOW_CIDR",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    allow_cidr: Vec<Network>,

    /// Show visitors this path and what is below it alone, like /webhooks; may be given several times
    #[arg(
        long,
        env = "GGROK_ALLOW_PATH",
        value_delimiter = ',',
        value_name = "PATH"
    )]
    allow_path: Vec<PathPrefix>,

    /// Let in visitors with a link of `ggrok-client share` alone
    #[arg(
        long,
        env = "GGROK_LINKS_ONLY",
        value_parser = FalseyValueParser::new()
    )]
    links_only: bool,
}

impl RulesArgs {
    /// The rules for the relay. Passwords are digested, which takes some 30 ms for each.
    pub(super) fn read(&self) -> anyhow::Result<Rules> {
        let given = self.basic_auth.iter().flat_map(|logins| logins.lines());
        let logins: Vec<Login> = given
            .map(|login| login.parse())
            .collect::<Result<_, _>>()
            .context("--basic-auth")?;
        // A variable that is empty by mistake must not let everybody in.
        if logins.is_empty() && !self.basic_auth.is_empty() {
            bail!("--basic-auth: {}", BadRules::Login);
        }
        if self.links_only && !logins.is_empty() {
            bail!(
                "--links-only and --basic-auth contradict: links let visitors in beside passwords too"
            );
        }
        let digested = (!logins.is_empty()).then(|| Logins::new(&logins));
        let rules = Rules {
            logins: digested.transpose()?,
            links_only: self.links_only,
            networks: self.allow_cidr.clone(),
            paths: self.allow_path.clone(),
        };
        rules.to_field()?;
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::RulesArgs;
    use clap::Parser;
    use ggrok_client::Rules;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        rules: RulesArgs,
    }

    fn rules(flags: &[&str]) -> Result<Rules, String> {
        let line = ["ggrok-client"].iter().chain(flags);
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        line.rules.read().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn are_none_without_flags() {
        assert!(rules(&[]).unwrap().is_empty());
    }

    #[test]
    fn are_put_together() {
        let flags = [
            "--basic-auth=ana:s3cret,too",
            "--basic-auth=bob:x\neve:y",
            "--allow-cidr=192.0.2.1,2001:db8::/32",
            "--allow-cidr=10.0.0.0/8",
            "--allow-path=/a,/b/",
        ];
        let rules = rules(&flags).unwrap();
        let logins = rules.logins.unwrap();
        assert_eq!(logins.count(), 3);
        assert!(logins.admits(b"ana:s3cret,too") && logins.admits(b"eve:y"));
        let shown: Vec<_> = rules.networks.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.1/32", "2001:db8::/32", "10.0.0.0/8"]);
        let shown: Vec<_> = rules.paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/a", "/b"]);
        assert!(!rules.links_only);
    }

    #[test]
    fn say_what_is_wrong_and_no_password() {
        for (flags, says) in [
            (&["--basic-auth", "s3cret"][..], "USER:PASSWORD"),
            (&["--basic-auth", ":s3cret"], "USER:PASSWORD"),
            (&["--basic-auth", ""], "USER:PASSWORD"),
            (&["--allow-cidr", ""], "203.0.113.0/24"),
            (
                &["--basic-auth", "a:s3cret", "--links-only"],
                "--links-only",
            ),
            (&["--allow-cidr", "203.0.113.0/33"], "203.0.113.0/24"),
            (&["--allow-path", "webhooks"], "/webhooks"),
            (&["--allow-path", "/"], "not / alone"),
            (&["--allow-path", "/a,b"], "/webhooks"),
        ] {
            let error = rules(flags).unwrap_err();
            assert!(
                error.contains(says) && !error.contains("s3cret"),
                "{flags:?}: {error}"
            );
        }
        let many = vec!["--allow-cidr=192.0.2.1"; 65];
        assert!(rules(&many).unwrap_err().contains("64 networks"));
    }
}
