//! Where the client registers, and what for: `--server`, `--name`, `--host` and `--remote`.

use anyhow::bail;
use clap::Args;
use ggrok_client::{Claim, HostName, Mirror, MirrorName, RelayAddress, RemoteAddress};

use super::relay;

/// Where to register, and what for.
#[derive(Args)]
pub(super) struct RegistrationArgs {
    /// The relay, like relay.example.com; a URL with ws:// where it has no TLS
    #[arg(long, short, env = "GGROK_SERVER", value_name = "HOST")]
    server: Option<String>,

    /// A name of your own at the relay, in place of the relay's host
    #[arg(long, env = "GGROK_NAME", value_name = "NAME")]
    name: Option<MirrorName>,

    /// Another host that points at the relay
    #[arg(long, env = "GGROK_HOST", value_name = "HOST", conflicts_with_all = ["name", "remote"])]
    host: Option<HostName>,

    /// magic-mirror's flag, in place of --server: the URL where a server takes mirrors, with --name
    #[arg(
        long,
        env = "GGROK_REMOTE",
        value_name = "URL",
        requires = "name",
        conflicts_with = "server"
    )]
    remote: Option<RemoteAddress>,

    /// With --remote: let visitors find the name too, and not the callers of the remote's API alone
    #[arg(long, env = "GGROK_PUBLIC", value_parser = clap::builder::FalseyValueParser::new())]
    public: bool,
}

/// Where to register, and what for.
pub(super) struct Registration {
    pub(super) relay: RelayAddress,
    /// Whether the saved token is for this relay.
    pub(super) is_saved_relay: bool,
    pub(super) claim: Claim,
}

impl RegistrationArgs {
    /// Whether the client is asked to stand where a magic-mirror client stood.
    pub(super) const fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Puts the flags and the saved relay together.
    pub(super) fn read(&self, saved: Option<String>) -> anyhow::Result<Registration> {
        if let (Some(remote), Some(name)) = (&self.remote, &self.name) {
            let saved = saved.and_then(|saved| saved.parse().ok());
            let mut mirror = remote.mirror(name.clone());
            mirror.public = self.public;
            return Ok(Registration {
                is_saved_relay: saved.as_ref() == Some(&remote.relay),
                relay: remote.relay.clone(),
                claim: Claim::Mirror(mirror),
            });
        }
        let is_saved_relay = self.server.is_none() || self.server == saved;
        let Some(server) = self.server.clone().or(saved) else {
            bail!("which relay? Give it with --server HOST, or save it: ggrok-client login HOST");
        };
        Ok(Registration {
            relay: relay(&server)?,
            is_saved_relay,
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

#[cfg(test)]
mod tests {
    use super::{Registration, RegistrationArgs};
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
        let saved = Some("saved.example".to_owned());
        parse(flags).unwrap().read(saved).unwrap()
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
    fn gives_the_saved_token_to_the_saved_relay_alone() {
        for (flags, is_saved_relay) in [
            ("--name blog", true),
            ("--server saved.example --name blog", true),
            ("--server other.example", false),
            ("--remote wss://saved.example/mirror --name blog", true),
            ("--remote https://saved.example/other --name blog", true),
            ("--remote wss://other.example/mirror --name blog", false),
            (
                "--remote wss://saved.example:8443/mirror --name blog",
                false,
            ),
            ("--remote ws://saved.example/mirror --name blog", false),
        ] {
            assert_eq!(
                registration(flags).is_saved_relay,
                is_saved_relay,
                "{flags}"
            );
        }
    }

    #[test]
    fn refuses_flags_that_contradict() {
        for (flags, says) in [
            ("--remote wss://a.example/mirror", "--name <NAME>"),
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
}
