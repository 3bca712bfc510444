//! Where a tunnel can be reached: the keys of the registry.

use std::fmt;

use crate::host::Host;
use crate::{MirrorName, Owner};

/// A place at the relay that one tunnel has at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// What visitors of a host reach.
    Host(Host),
    /// What its owner reaches by name.
    Mirror(Owner, MirrorName),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Mirror(owner, name) => write!(f, "{owner}/{name}"),
        }
    }
}
