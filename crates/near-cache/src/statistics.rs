//! Metrics of the near cache.

use metrics::{Counter, Gauge, counter, gauge};

/// Metrics of the near cache: counters for look-ups, invalidations and flushes, and a gauge for the
/// number of cached sessions.
pub(crate) struct Statistics {
    /// Number of look-ups that were answered with a cached copy.
    pub(crate) hit: Counter,
    /// Number of look-ups that read the session from the store, as the leader of a single-flight
    /// read.
    pub(crate) miss: Counter,
    /// Number of look-ups that waited for the pending read of another look-up, as a follower of a
    /// single-flight read.
    pub(crate) joined: Counter,
    /// Number of look-ups that read the session from the store without caching or sharing the
    /// result. Possible reasons: the invalidation feed was not trusted, the feed covered another
    /// store server, or the store named no keys or too many keys for the session.
    pub(crate) bypassed: Counter,
    /// Number of invalidations that the near cache received from the invalidation feed.
    pub(crate) changes: Counter,
    /// Number of times that all cached copies were removed at once, because the invalidation feed
    /// was lost.
    pub(crate) flushes: Counter,
    /// Number of cached sessions.
    pub(crate) entries: Gauge,
}

impl Statistics {
    /// Registers the metrics with the metrics recorder that is installed at the time of the call.
    pub(crate) fn new() -> Self {
        let lookups =
            |outcome| counter!("tee_session_near_cache_lookups_total", "outcome" => outcome);
        Self {
            hit: lookups("hit"),
            miss: lookups("miss"),
            joined: lookups("joined"),
            bypassed: lookups("bypassed"),
            changes: counter!("tee_session_near_cache_changes_total"),
            flushes: counter!("tee_session_near_cache_flushes_total"),
            entries: gauge!("tee_session_near_cache_entries"),
        }
    }
}
