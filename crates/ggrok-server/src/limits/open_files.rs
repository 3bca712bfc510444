//! The system's limit of open files, and the part of it that connections may take.

/// Bounds the places of connections such that some files are left for all else.
pub(crate) fn places(configured: usize) -> usize {
    limit().map_or(configured, |limit| configured.min(share(limit)))
}

/// The files of a limit that may be connections. The others are for tunnels, for clients that register,
/// and for what the process opens itself.
fn share(limit: usize) -> usize {
    limit.saturating_sub(KEPT).max(limit / 2)
}

/// Files that are kept back.
const KEPT: usize = 256;

#[cfg(unix)]
fn limit() -> Option<usize> {
    let (soft, _) = rlimit::Resource::NOFILE.get().ok()?;
    Some(usize::try_from(soft).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
const fn limit() -> Option<usize> {
    None
}
