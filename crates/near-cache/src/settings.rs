//! Settings of the near cache: limits on size and age.

use std::time::Duration;

/// Limits on the size of a near cache, and on the age of its cached copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearCacheSettings {
    /// Maximum time for which cached copies are served after the last confirmation of the
    /// invalidation feed (the stream of changed sessions that the store reports).
    ///
    /// After a session has been revoked, a cached copy can be served for at most this time.
    pub max_stale: Duration,
    /// Maximum number of cached sessions.
    pub max_entries: usize,
    /// Maximum memory in bytes for all cached sessions together.
    pub max_bytes: usize,
}

impl Default for NearCacheSettings {
    /// Returns the default limits: a `max_stale` of 1 s, 100 000 sessions and 64 MiB.
    fn default() -> Self {
        Self {
            max_stale: Duration::from_secs(1),
            max_entries: 100_000,
            max_bytes: 64 * 1_024 * 1_024,
        }
    }
}
