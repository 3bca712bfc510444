//! The two addresses that a person types: the relay's and the local server's.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

/// Where the relay is, and whether to speak TLS with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    authority: Authority,
    secure: bool,
}

impl RelayAddress {
    /// Whether the way to the relay is encrypted.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the relay is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    /// Whether both are one relay, spoken to in one way: scheme, host and port are the same, the port
    /// written out or not. Two names of one machine are two relays.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let one = (self.secure, self.port_or_default());
        let hosts_agree = self.host().eq_ignore_ascii_case(other.host());
        one == (other.secure, other.port_or_default()) && hosts_agree
    }

    /// The address that visitors open.
    #[must_use]
    pub fn public_url(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }

    /// The scheme by which visitors come.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The port, where it was typed.
    pub(crate) fn port(&self) -> Option<u16> {
        self.authority.port_u16()
    }

    /// The port that is dialled.
    fn port_or_default(&self) -> u16 {
        let default = if self.secure { 443 } else { 80 };
        self.port().unwrap_or(default)
    }

    /// The host and port that are dialled.
    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", self.host(), self.port_or_default())
    }

    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    /// The relay's URL, with its port written out.
    pub(crate) fn uri(&self) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme())
            .authority(self.host_and_port())
            .path_and_query("/")
            .build()
    }

    /// The authority as it was typed, for the Host field: the relay serves this host.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

/// Reads `relay.example.com`, `localhost:8080` or a URL without a path. Without a scheme a relay
/// on this machine is spoken to in the clear and every other by TLS.
impl FromStr for RelayAddress {
    type Err = AddressError;

    fn from_str(typed: &str) -> Result<Self, AddressError> {
        let (scheme, authority) = split(typed)?;
        let secure = match scheme {
            None => !is_loopback(authority.host()),
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            Some(_) => return Err(AddressError::RelayScheme),
        };
        Ok(Self { authority, secure })
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    is_address || host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost")
}

/// Where the local server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    authority: Authority,
    port: u16,
}

impl LocalAddress {
    /// A port of this machine.
    #[must_use]
    pub fn port(port: u16) -> Self {
        let authority = format!("localhost:{port}").parse();
        Self {
            authority: authority.expect("a name and a number are an authority"),
            port,
        }
    }

    /// The names and addresses to try, in order. `localhost` is the one that a server listens on:
    /// Node takes ::1 alone, others 127.0.0.1 alone.
    pub(crate) fn candidates(&self) -> Vec<(&str, u16)> {
        let host = self.authority.host();
        if host.eq_ignore_ascii_case("localhost") {
            return vec![("127.0.0.1", self.port), ("::1", self.port)];
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        vec![(bare, self.port)]
    }

    /// Whether the local server is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.authority.host())
    }

    /// The address as a Host field has it.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

/// Reads `3000`, `localhost:3000` or `http://127.0.0.1:9090`.
impl FromStr for LocalAddress {
    type Err = AddressError;

    fn from_str(typed: &str) -> Result<Self, AddressError> {
        let typed = typed.trim();
        if is_unix_socket(typed) {
            return Err(AddressError::UnixSocket);
        }
        // Some write a port with the colon that stands before it.
        if let Ok(port) = typed.strip_prefix(':').unwrap_or(typed).parse() {
            return match port {
                0 => Err(AddressError::Port),
                port => Ok(Self::port(port)),
            };
        }
        let (scheme, authority) = split(typed).map_err(|error| match error {
            AddressError::Invalid => AddressError::LocalInvalid,
            error => error,
        })?;
        match scheme {
            None | Some("http") => {}
            Some(_) => return Err(AddressError::LocalScheme),
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if scheme.is_some() => 80,
            None => return Err(AddressError::Port),
        };
        Ok(Self { authority, port })
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// Whether this is the path of a Unix socket, in one of the ways in which programs write it.
fn is_unix_socket(typed: &str) -> bool {
    let is_path =
        typed.starts_with(['/', '~']) || typed.starts_with("./") || typed.starts_with("../");
    let has_scheme = ["unix:", "http+unix:", "unix+http:"]
        .iter()
        .any(|scheme| typed.starts_with(scheme));
    has_scheme || is_path || typed.ends_with(".sock")
}

/// What is wrong with an address that a person typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no address at all.
    #[error("give a host, like relay.example.com or localhost:8080")]
    Invalid,
    /// It is no address of a local server.
    #[error("give a port or an address, like 3000 or localhost:3000")]
    LocalInvalid,
    /// It is the path of a Unix socket.
    #[error(
        "Unix sockets are not supported: give a port or an address, like 3000 or localhost:3000"
    )]
    UnixSocket,
    /// It has a path, a query or a user.
    #[error("give the host alone, without a path, a query or a user name")]
    MoreThanHost,
    /// The relay's scheme is not known.
    #[error("a relay's address starts with wss://, ws://, https:// or http://, or has no scheme")]
    RelayScheme,
    /// The local server's scheme is not HTTP in the clear.
    #[error(
        "a local server's address starts with http:// or has no scheme; TLS to it is not spoken"
    )]
    LocalScheme,
    /// It is no URL of a server that takes mirrors.
    #[error(
        "give the server's URL, like wss://mirror.example.com/mirror, without a user or a fragment"
    )]
    Remote,
    /// There is no port, or one out of range.
    #[error("give a port from 1 to 65535, like 3000 or localhost:3000")]
    Port,
}

/// Splits an address into the scheme, where it has one, and host and port.
pub(crate) fn split(typed: &str) -> Result<(Option<&str>, Authority), AddressError> {
    let typed = typed.trim();
    let (scheme, rest) = match typed.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, typed),
    };
    // Copied from a browser, an address ends in a slash.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(AddressError::MoreThanHost);
    }
    let authority: Authority = rest.parse().map_err(|_| AddressError::Invalid)?;
    // The URI crate takes `host:` and `host:99999` for an authority.
    let has_port = authority.host().len() < authority.as_str().len();
    if has_port && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(AddressError::Port);
    }
    if authority.host().is_empty() {
        return Err(AddressError::Invalid);
    }
    Ok((scheme, authority))
}

#[cfg(test)]
mod tests {
    use super::{AddressError, LocalAddress, RelayAddress};

    fn relay(typed: &str) -> Result<(String, String), AddressError> {
        let address: RelayAddress = typed.parse()?;
        Ok((address.to_string(), address.public_url()))
    }

    #[test]
    fn speaks_tls_to_all_but_this_machine() {
        for (typed, dialled, public) in [
            (
                "relay.example.com",
                "wss://relay.example.com",
                "https://relay.example.com",
            ),
            (
                "relay.example.com:8443",
                "wss://relay.example.com:8443",
                "https://relay.example.com:8443",
            ),
            (
                "localhost:8080",
                "ws://localhost:8080",
                "http://localhost:8080",
            ),
            (
                "a.localhost:8080",
                "ws://a.localhost:8080",
                "http://a.localhost:8080",
            ),
            (
                "127.0.0.1:8080",
                "ws://127.0.0.1:8080",
                "http://127.0.0.1:8080",
            ),
            ("[::1]:8080", "ws://[::1]:8080", "http://[::1]:8080"),
            (
                "ws://relay.example.com",
                "ws://relay.example.com",
                "http://relay.example.com",
            ),
            (
                "http://relay.example.com/",
                "ws://relay.example.com",
                "http://relay.example.com",
            ),
            (
                "https://relay.example.com/",
                "wss://relay.example.com",
                "https://relay.example.com",
            ),
            (
                "wss://localhost:8443",
                "wss://localhost:8443",
                "https://localhost:8443",
            ),
        ] {
            assert_eq!(
                relay(typed).unwrap(),
                (dialled.to_owned(), public.to_owned())
            );
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_address() {
        use AddressError as E;
        for (typed, error) in [
            ("relay.example.com/x", E::MoreThanHost),
            ("https://relay.example.com/x", E::MoreThanHost),
            ("wss://relay.example.com?x", E::MoreThanHost),
            ("user@relay.example.com", E::MoreThanHost),
            ("ftp://relay.example.com", E::RelayScheme),
            ("relay.example.com:99999", E::Port),
            ("relay.example.com:0", E::Port),
            ("", E::Invalid),
            ("a b", E::Invalid),
        ] {
            assert_eq!(relay(typed), Err(error), "{typed}");
        }
        for (typed, error) in [
            ("http://localhost:3000/base", E::MoreThanHost),
            ("https://localhost:3000", E::LocalScheme),
            ("localhost", E::Port),
            ("0", E::Port),
            ("70000", E::Port),
            (":0", E::Port),
            ("", E::LocalInvalid),
            ("a b", E::LocalInvalid),
            ("/run/app.sock", E::UnixSocket),
            ("./app.sock", E::UnixSocket),
            ("app.sock", E::UnixSocket),
            ("unix:/run/app", E::UnixSocket),
            ("unix:///run/app.sock", E::UnixSocket),
        ] {
            assert_eq!(typed.parse::<LocalAddress>(), Err(error), "{typed}");
        }
    }

    #[test]
    fn is_the_same_relay_by_scheme_host_and_port_alone() {
        for (one, other, is_same) in [
            ("a.example", "a.example", true),
            ("a.example", "https://A.Example/", true),
            ("a.example", "wss://a.example:443", true),
            ("ws://a.example", "http://a.example:80", true),
            ("localhost:80", "ws://localhost", true),
            ("[::1]:81", "ws://[::1]:81", true),
            ("a.example", "ws://a.example", false),
            ("wss://a.example", "ws://a.example:443", false),
            ("ws://a.example", "wss://a.example:80", false),
            ("a.example", "a.example:8443", false),
            ("a.example", "a.example.", false),
            ("a.example", "b.a.example", false),
            ("localhost:80", "127.0.0.1:80", false),
            ("localhost:80", "wss://localhost:80", false),
        ] {
            let (left, right): (RelayAddress, RelayAddress) =
                (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(left.is_same(&right), is_same, "{one} {other}");
            assert_eq!(right.is_same(&left), is_same, "{other} {one}");
        }
    }

    #[test]
    fn tries_both_loopbacks_for_localhost() {
        let candidates = |typed: &str| {
            let address: LocalAddress = typed.parse().unwrap();
            let candidates = address.candidates().into_iter();
            candidates
                .map(|(host, port)| format!("{host} {port}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(candidates("3000"), ["127.0.0.1 3000", "::1 3000"]);
        assert_eq!(candidates(":3000"), ["127.0.0.1 3000", "::1 3000"]);
        assert_eq!(
            candidates("http://localhost:9090/"),
            ["127.0.0.1 9090", "::1 9090"]
        );
        assert_eq!(candidates("[::1]:3000"), ["::1 3000"]);
        assert_eq!(candidates("http://nas.local"), ["nas.local 80"]);
    }
}
