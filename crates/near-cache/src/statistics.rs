//! What is counted, for dashboards.

use metrics::{Counter, Gauge, counter, gauge};

/// How look-ups ended, and how much is kept.
pub(crate) struct Statistics {
    /// Answered from a copy.
    pub(crate) hit: Counter,
    /// Read from the store.
    pub(crate) miss: Counter,
    /// Answered by a reading that another request had begun.
    pub(crate) joined: Counter,
    /// Read from the store because changes are not told now.
    pub(crate) bypassed: Counter,
    /// Changes that were told.
    pub(crate) changes: Counter,
    /// How often all copies became bad at once.
    pub(crate) flushes: Counter,
    /// Copies that are kept.
    pub(crate) entries: Gauge,
}

impl Statistics {
    /// Counts with the recorder that the process has now.
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
