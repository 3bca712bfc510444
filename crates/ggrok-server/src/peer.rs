//! Who is at the other end of a connection.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

use crate::forwarded::Told;
use crate::limits::connections::{Activity, Seat};

/// Who is at the other end of a connection: a visitor, or a router of ours. Each of its requests tells
/// the app of it, so its text is made once. Clones are the same peer.
#[derive(Clone)]
pub(crate) struct Peer(Arc<Address>);

struct Address {
    /// An IPv4 address is one, however the socket says it.
    canonical: IpAddr,
    text: HeaderValue,
    /// What the app was told for its last request.
    told: Mutex<Option<Told>>,
    seat: Option<Seat>,
}

impl Peer {
    /// The peer of a connection, which keeps its seat until the last clone is dropped: also after an
    /// upgrade, when the connection is no longer the server's.
    pub(crate) fn seated(address: IpAddr, seat: Seat) -> Self {
        Self::new(address, Some(seat))
    }

    fn new(address: IpAddr, seat: Option<Seat>) -> Self {
        let canonical = address.to_canonical();
        let text = HeaderValue::try_from(canonical.to_string());
        let text = text.expect("an address is a valid value");
        Self(Arc::new(Address {
            canonical,
            text,
            told: Mutex::default(),
            seat,
        }))
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.0.canonical
    }

    /// The place of the connection among all of them. `None` where an app that embeds the relay has the
    /// connections.
    pub(crate) fn seat(&self) -> Option<&Seat> {
        self.0.seat.as_ref()
    }

    /// What its connection does at the moment.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        let activity = self.seat().map(Seat::activity);
        activity.map_or_else(Arc::default, Arc::clone)
    }

    pub(crate) fn text(&self) -> &HeaderValue {
        &self.0.text
    }

    /// What the app is told of this peer for a host: as for its last request, or else as `tell` says.
    pub(crate) fn told(&self, host: Option<&HeaderValue>, tell: impl FnOnce() -> Told) -> Told {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = told.as_ref().filter(|told| told.is_for(host)) {
            return told.clone();
        }
        told.insert(tell()).clone()
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::new(address, None)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}
