//! Who is at the other end of a connection.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;

/// Who is at the other end of a connection: a visitor, or a router of ours. Each of its requests tells
/// the app of it, so its text is made once. Clones are the same peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<Address>);

#[derive(Debug)]
struct Address {
    /// An IPv4 address is one, however the socket says it.
    canonical: IpAddr,
    text: HeaderValue,
}

impl Peer {
    pub(crate) fn address(&self) -> IpAddr {
        self.0.canonical
    }

    pub(crate) fn text(&self) -> &HeaderValue {
        &self.0.text
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        let canonical = address.to_canonical();
        let text = HeaderValue::try_from(canonical.to_string());
        let text = text.expect("an address is a valid value");
        Self(Arc::new(Address { canonical, text }))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}
