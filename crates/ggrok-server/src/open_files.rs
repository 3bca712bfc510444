//! The limit of open files of this process.

/// Raises the soft limit to the hard one, and warns if that is below what the settings may need.
pub(crate) fn raise(needed: usize) {
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= needed => tracing::debug!(limit, "files that may be open"),
        Ok(limit) => tracing::warn!(
            limit,
            needed,
            "the system allows fewer open files than the settings may need; raise its hard limit (`ulimit -Hn`, \
             LimitNOFILE)"
        ),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}
