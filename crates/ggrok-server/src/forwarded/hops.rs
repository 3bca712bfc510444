//! Warns where the number of trusted hops does not fit the requests that arrive.

use http::header::{FORWARDED, HeaderMap};

use super::FOR;
use crate::log_limit::LogLimits;

/// Warns, at most once an hour, of requests with forwarding fields that are not believed, and of those
/// that passed fewer hops than are trusted.
pub(crate) fn check(headers: &HeaderMap, trusted_hops: usize, log: &LogLimits) {
    if trusted_hops == 0 {
        let is_forwarded = headers.contains_key(FOR) || headers.contains_key(FORWARDED);
        if is_forwarded && log.untrusted_hops.is_due() {
            tracing::warn!(
                "requests bring X-Forwarded-For or Forwarded, which are ignored: behind a proxy, set \
                 --trusted-hops (GGROK_TRUSTED_HOPS) to the number of proxies, or apps see its \
                 address and http; if no proxy is in front, visitors send these fields themselves, \
                 and ignoring them is right"
            );
        }
    } else if hops(headers) < trusted_hops && log.missing_hops.is_due() {
        tracing::warn!(
            trusted_hops,
            arrived = hops(headers),
            "a request passed fewer proxies than are trusted, by its X-Forwarded-For: set \
             --trusted-hops (GGROK_TRUSTED_HOPS) to the number of proxies in front, and let nobody \
             reach the relay past them, or visitors can claim any address"
        );
    }
}

/// The hops that wrote an entry of X-Forwarded-For.
fn hops(headers: &HeaderMap) -> usize {
    let values = headers.get_all(FOR).iter();
    let entries = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    entries
        .filter(|entry| !entry.trim_ascii().is_empty())
        .count()
}
