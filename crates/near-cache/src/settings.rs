//! How much is kept, and how old it may be.

use std::time::Duration;

/// The bounds of a near cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearCacheSettings {
    /// A copy is served for so long, at most, after the store last showed that it tells of changes:
    /// the longest that a revoked session can be answered for.
    pub max_stale: Duration,
    /// Most sessions that are kept.
    pub max_entries: usize,
    /// Most bytes that they may take.
    pub max_bytes: usize,
}

impl Default for NearCacheSettings {
    /// One second, 100 000 sessions, 64 MiB.
    fn default() -> Self {
        Self {
            max_stale: Duration::from_secs(1),
            max_entries: 100_000,
            max_bytes: 64 * 1_024 * 1_024,
        }
    }
}
