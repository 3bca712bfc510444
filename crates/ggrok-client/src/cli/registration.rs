//! Where the client registers, and what for: `--server`, `--name`, `--host` and `--remote`.

use std::error::Error;
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::FalseyValueParser;
use ggrok_client::{Claim, HostName, Mirror, MirrorName, RelayAddress, RemoteAddress};

use super::relay::relay;
use crate::settings::Settings;

/// Where to register, and what for. The environment stands in for flags that are not given, but for
/// none that would contradict those that are: so clap does not read it.
#[derive(Args, Clone)]
#[command(next_help_heading = "Relay")]
pub(super) struct RegistrationArgs {
    /// The relay, like relay.example.com; a URL with ws:// where it has no TLS [env: GGROK_SERVER=]
    // bore calls it so.
    #[arg(long, short, alias = "to", value_name = "HOST")]
    server: Option<String>,

    /// A name of your own at the relay, in place of the relay's host. Where the relay has a domain,
    /// everybody can visit NAME.DOMAIN [env: GGROK_NAME=]
    // As ngrok and localtunnel call it.
    #[arg(long, alias = "subdomain", value_name = "NAME")]
    name: Option<MirrorName>,

    /// Another host that points at the relay [env: GGROK_HOST=]
    // As ngrok and cloudflared call it.
    #[arg(long, aliases = ["hostname", "domain"], value_name = "HOST", conflicts_with_all = ["name", "remote"])]
    host: Option<HostName>,

    /// magic-mirror's flag, in place of --server: the URL where a server takes mirrors, with --name.
    /// They are reached by their owner's programs alone [env: GGROK_REMOTE=]
    #[arg(long, value_name = "URL", conflicts_with = "server")]
    remote: Option<RemoteAddress>,

    /// With --remote: let everybody visit the name too, where the relay has a domain
    #[arg(long, env = "GGROK_PUBLIC", value_parser = FalseyValueParser::new())]
    public: bool,
}

/// Where to register, and what for.
pub(super) struct Registration {
    pub(super) relay: RelayAddress,
    pub(super) claim: Claim,
}

impl RegistrationArgs {
    /// Whether the client is asked to stand where a magic-mirror client stood.
    pub(super) const fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// The flags, with the environment's in the place of those that nothing stands against.
    pub(super) fn or_environment(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        if self.server.is_none() && self.host.is_none() {
            self.remote = or(self.remote, "GGROK_REMOTE", &variable)?;
        }
        if self.remote.is_none() {
            self.server = or(self.server, "GGROK_SERVER", &variable)?;
        }
        if self.remote.is_none() {
            (self.name, self.host) = name_or_host(self.name, self.host, &variable)?;
        } else {
            self.name = or(self.name, "GGROK_NAME", &variable)?;
        }
        Ok(self)
    }

    /// Puts the flags and the saved relay together.
    pub(super) fn read(&self, saved: &Settings) -> anyhow::Result<Registration> {
        if let Some(remote) = &self.remote {
            let Some(name) = &self.name else {
                bail!("which mirror? Give it a name with --name NAME");
            };
            let mut mirror = remote.mirror(name.clone());
            mirror.public = self.public;
            return Ok(Registration {
                relay: remote.relay.clone(),
                claim: Claim::Mirror(mirror),
            });
        }
        Ok(Registration {
            relay: relay(self.server.as_deref(), saved)?,
            claim: self.claim(),
        })
    }

    /// What is asked for at the relay that `--server` names.
    fn claim(&self) -> Claim {
        match (&self.name, &self.host) {
            (Some(name), _) => Claim::Mirror(Mirror::new(name.clone())),
            (None, Some(host)) => Claim::OtherHost(host.clone()),
            (None, None) => Claim::Host,
        }
    }
}

/// The name or the host that flags say, or else the variable of one that no flag contradicts.
pub(super) fn name_or_host(
    name: Option<MirrorName>,
    host: Option<HostName>,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<(Option<MirrorName>, Option<HostName>)> {
    let name = match host {
        None => or(name, "GGROK_NAME", &variable)?,
        Some(_) => name,
    };
    let host = match name {
        None => or(host, "GGROK_HOST", &variable)?,
        Some(_) => host,
    };
    Ok((name, host))
}

/// What a flag says, or else a variable. One that is empty is none.
pub(super) fn or<T>(
    flag: Option<T>,
    name: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<T>>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let value = variable(name).filter(|value| flag.is_none() && !value.trim().is_empty());
    let Some(value) = value else {
        return Ok(flag);
    };
    let read = value.parse();
    read.map(Some)
        .with_context(|| format!("{name} is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::{Registration, RegistrationArgs};
    use crate::settings::Settings;
    use clap::Parser;
    use ggrok_client::{Claim, Mirror, RemoteAddress};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        registration: RegistrationArgs,
    }

    fn parse(flags: &str) -> Result<RegistrationArgs, clap::Error> {
        let line = ["ggrok-client"].into_iter().chain(flags.split(' '));
        Line::try_parse_from(line).map(|line| line.registration)
    }

    fn registration(flags: &str) -> Registration {
        let saved = Settings {
            server: Some("saved.example".to_owned()),
            token: None,
        };
        parse(flags).unwrap().read(&saved).unwrap()
    }

    fn remote(url: &str, public: bool) -> Claim {
        let remote: RemoteAddress = url.parse().unwrap();
        let mut mirror = remote.mirror("blog".parse().unwrap());
        mirror.public = public;
        Claim::Mirror(mirror)
    }

    #[test]
    fn asks_for_what_the_flags_say() {
        let url = "wss://a.example/mirror";
        let named = Claim::Mirror(Mirror::new("blog".parse().unwrap()));
        let other = Claim::OtherHost("app.example".parse().unwrap());
        for (flags, relay, claim) in [
            ("--server a.example", "wss://a.example", Claim::Host),
            ("--name blog", "wss://saved.example", named.clone()),
            ("--server a.example --name blog", "wss://a.example", named),
            ("--host App.Example", "wss://saved.example", other),
            (
                "--remote wss://a.example/mirror --name blog",
                "wss://a.example",
                remote(url, false),
            ),
            (
                "--remote a.example/mirror --name blog --public",
                "wss://a.example",
                remote(url, true),
            ),
        ] {
            let registration = registration(flags);
            assert_eq!(registration.relay.to_string(), relay, "{flags}");
            assert_eq!(registration.claim, claim, "{flags}");
        }
    }

    #[test]
    fn refuses_flags_that_contradict() {
        for (flags, says) in [
            (
                "--remote a.example/m --name blog --server b.example",
                "--server",
            ),
            ("--host a.example --name blog", "--name"),
            (
                "--host a.example --remote a.example/m --name blog",
                "--host",
            ),
            ("--name Blog", "a-z"),
            ("--host https://a.example", "app.example.com"),
            ("--remote ftp://a.example/m --name blog", "wss://"),
        ] {
            let Err(error) = parse(flags) else {
                panic!("it was taken: {flags}");
            };
            assert!(error.to_string().contains(says), "{flags}: {error}");
        }
    }

    #[test]
    fn takes_the_environment_where_no_flag_stands_against_it() {
        let environment = |name: &str| match name {
            "GGROK_SERVER" => Some("env.example".to_owned()),
            "GGROK_NAME" => Some("blog".to_owned()),
            "GGROK_HOST" => Some(" ".to_owned()),
            _ => None,
        };
        let named = Claim::Mirror(Mirror::new("blog".parse().unwrap()));
        let url = "wss://a.example/mirror";
        let other = Claim::OtherHost("b.example".parse().unwrap());
        for (flags, relay, claim) in [
            ("--public", "wss://env.example", named.clone()),
            ("--server a.example", "wss://a.example", named),
            (
                "--remote a.example/mirror",
                "wss://a.example",
                remote(url, false),
            ),
            ("--host b.example", "wss://env.example", other),
        ] {
            let flags = parse(flags).unwrap().or_environment(environment).unwrap();
            let registration = flags.read(&Settings::default()).unwrap();
            assert_eq!(registration.relay.to_string(), relay);
            assert_eq!(registration.claim, claim);
        }
        let lonely = parse("--remote a.example/m")
            .unwrap()
            .read(&Settings::default());
        assert!(lonely.err().unwrap().to_string().contains("--name"));
        let bad = parse("--public")
            .unwrap()
            .or_environment(|_| Some("/ /".to_owned()));
        assert!(bad.err().unwrap().to_string().contains("GGROK_REMOTE"));
    }
}
