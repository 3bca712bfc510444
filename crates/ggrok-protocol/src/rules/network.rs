//! Where visitors may come from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::BadRules;

/// Addresses with the same beginning (RFC 4632, RFC 4291), or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is in the network. One of IPv4 that is written as one of IPv6 is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Reads `203.0.113.0/24`, `2001:db8::/32`, or one address. Bits behind the length are ignored.
impl FromStr for Network {
    type Err = BadRules;

    fn from_str(text: &str) -> Result<Self, BadRules> {
        let text = text.trim();
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| BadRules::Network)?,
        };
        // No visitor would be in it.
        if network.addr().to_canonical() != network.addr() {
            return Err(BadRules::Network);
        }
        Ok(Self(network.trunc()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl TryFrom<String> for Network {
    type Error = BadRules;

    fn try_from(text: String) -> Result<Self, BadRules> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::{BadRules, Network};

    #[test]
    fn contain_the_addresses_with_their_beginning() {
        for (network, shown, inside, outside) in [
            (
                "203.0.113.0/24",
                "203.0.113.0/24",
                "203.0.113.255",
                "203.0.112.255",
            ),
            (
                "203.0.113.9/24",
                "203.0.113.0/24",
                "203.0.113.0",
                "203.0.114.0",
            ),
            (
                "203.0.113.9",
                "203.0.113.9/32",
                "203.0.113.9",
                "203.0.113.8",
            ),
            (
                "203.0.113.9",
                "203.0.113.9/32",
                "::ffff:203.0.113.9",
                "::203.0.113.9",
            ),
            ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"),
            ("10.0.0.0/9", "10.0.0.0/9", "10.127.255.255", "10.128.0.0"),
            (
                "2001:db8::/32",
                "2001:db8::/32",
                "2001:db8:ffff::1",
                "2001:db9::",
            ),
            (
                "2001:DB8::1",
                "2001:db8::1/128",
                "2001:db8::1",
                "2001:db8::2",
            ),
            ("::/0", "::/0", "fe80::1", "192.0.2.1"),
            (" 192.0.2.1/31 ", "192.0.2.0/31", "192.0.2.0", "192.0.2.2"),
        ] {
            let read: Network = network.parse().unwrap();
            assert_eq!(read.to_string(), shown);
            assert!(read.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(
                !read.contains(outside.parse().unwrap()),
                "{network} {outside}"
            );
        }
    }

    #[test]
    fn are_read_strictly() {
        for bad in [
            "",
            "/",
            "/24",
            "203.0.113.0/33",
            "203.0.113.0/-1",
            "203.0.113.0/",
            "203.0.113/24",
            "2001:db8::/129",
            "203.0.113.0/24/24",
            "::ffff:203.0.113.0/120",
            "::ffff:203.0.113.9",
            "localhost",
            "203.0.113.9:80",
            "[::1]",
            "203.0.113.0/255.255.255.0",
            "0xcb.0.113.9",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(BadRules::Network), "{bad}");
        }
    }
}
