//! The limit of open files, which connections are.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many as the system allows, for this process and those that it starts.
///
/// # Errors
/// Where the limits cannot be read or set.
pub fn take_all() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}

/// So many connections of one process, or as many as it can have.
pub fn at_most(connections: usize) -> usize {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    connections.min(most.saturating_sub(RESERVE))
}

/// Files of a process besides.
const RESERVE: usize = 200;
