//! Counters that show whether the records of a session have changed since the session was read.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU32, Ordering},
};

use arrayvec::ArrayVec;
use tee_session_domain::StoreKey;

/// Ratio of the number of change counters to the capacity of the cache. There are at most
/// [`MAX_COUNTERS`] counters in total.
///
/// The hash of a store key selects its counter, so the records of two sessions can share a counter.
/// In that case, a change to one session also invalidates the cached copy of the other session, so
/// the other session must be read once more. A higher ratio makes shared counters rare.
const COUNTERS_PER_ENTRY: usize = 4;

const MIN_COUNTERS: usize = 1_024;
const MAX_COUNTERS: usize = 1 << 22;

/// Maximum number of store keys under which one session can be stored, for example one key for each
/// storage format.
const MAX_KEYS: usize = 4;

/// An array of change counters. A hash of a record's store key selects the counter of the record.
///
/// To read a session, the cache takes a snapshot of the session's counters before the read. As long
/// as the counters are the same as in the snapshot, no invalidation of the session has arrived
/// since then, and the result of the read is valid. An invalidation that arrives during the read is
/// therefore noticed as well. An invalidation only increments one counter: it takes no lock and
/// searches no cached copies.
pub(crate) struct ChangeCounters {
    hasher: RandomState,
    counters: Box<[AtomicU32]>,
}

/// A snapshot of the change counters of one session's records.
///
/// The snapshot only contains the sum of the counters. The counters only grow, so the sum is
/// unchanged only if each counter is unchanged. A counter wraps around after 2^32 changes, but a
/// sweep removes the invalid cached copy long before that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeSnapshot {
    indices: ArrayVec<u32, MAX_KEYS>,
    sum: u64,
}

impl ChangeCounters {
    pub(crate) fn for_entries(entries: usize) -> Self {
        let count = entries.saturating_mul(COUNTERS_PER_ENTRY);
        let count = count.clamp(MIN_COUNTERS, MAX_COUNTERS).next_power_of_two();
        Self {
            hasher: RandomState::new(),
            counters: (0..count).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Counts a change of the record under the store key `key`.
    pub(crate) fn increment(&self, key: &[u8]) {
        self.at(self.index(key)).fetch_add(1, Ordering::AcqRel);
    }

    /// Takes a snapshot of the counters for `keys`, before a session is read. Returns `None` if
    /// there are no keys or more than [`MAX_KEYS`].
    pub(crate) fn snapshot(&self, keys: &[StoreKey]) -> Option<ChangeSnapshot> {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return None;
        }
        let indices = keys.iter().map(|key| self.index(key.expose_secret()));
        let indices: ArrayVec<_, MAX_KEYS> = indices.collect();
        let sum = self.sum(&indices);
        Some(ChangeSnapshot { indices, sum })
    }

    /// Returns `true` if no record of the session has changed since the snapshot was taken.
    pub(crate) fn unchanged_since(&self, snapshot: &ChangeSnapshot) -> bool {
        self.sum(&snapshot.indices) == snapshot.sum
    }

    fn sum(&self, indices: &[u32]) -> u64 {
        let changes = |index: &u32| u64::from(self.at(*index).load(Ordering::Acquire));
        indices.iter().map(changes).sum()
    }

    fn at(&self, index: u32) -> &AtomicU32 {
        // The number of counters is a power of two, so this mask keeps the index within the array.
        &self.counters[index as usize & (self.counters.len() - 1)]
    }

    fn index(&self, key: &[u8]) -> u32 {
        // A hash of 32 bits is sufficient, because there are at most 2^22 counters.
        self.hasher.hash_one(key) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<StoreKey> {
        keys.iter()
            .map(|key| StoreKey::new(key.as_bytes()))
            .collect()
    }

    #[test]
    fn change_to_any_record_of_a_session_invalidates_the_snapshot_of_the_session() {
        let counters = ChangeCounters::for_entries(100_000);
        let snapshot = counters.snapshot(&keys(&["a", "b"])).unwrap();
        assert!(counters.unchanged_since(&snapshot));
        counters.increment(b"c");
        assert!(counters.unchanged_since(&snapshot));
        counters.increment(b"b");
        assert!(!counters.unchanged_since(&snapshot));
        let snapshot = counters.snapshot(&keys(&["a", "b"])).unwrap();
        counters.increment(b"a");
        assert!(!counters.unchanged_since(&snapshot));
    }

    #[test]
    fn snapshot_is_none_without_keys_or_with_more_than_four_keys() {
        let counters = ChangeCounters::for_entries(1);
        assert_eq!(counters.snapshot(&[]), None);
        assert_eq!(counters.snapshot(&keys(&["a"; MAX_KEYS + 1])), None);
        assert!(counters.snapshot(&keys(&["a"; MAX_KEYS])).is_some());
    }

    #[test]
    fn change_to_one_session_invalidates_at_most_5_of_1000_other_snapshots() {
        let counters = ChangeCounters::for_entries(1_000);
        let kept: Vec<_> = (0..1_000)
            .map(|n| counters.snapshot(&keys(&[&format!("kept {n}")])).unwrap())
            .collect();
        counters.increment(b"another");
        let is_lost = |snapshot: &&ChangeSnapshot| !counters.unchanged_since(snapshot);
        let lost = kept.iter().filter(is_lost).count();
        assert!(lost <= 5, "{lost} of 1000");
    }
}
