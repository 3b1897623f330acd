//! Which records have changed since they were read.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU32, Ordering},
};

use arrayvec::ArrayVec;
use tee_session_domain::StoreKey;

/// So many more places than sessions, while these are a million at most: a change to one seldom makes
/// a copy of another unusable, which costs that one a reading and no more.
const PLACES_PER_ENTRY: usize = 4;

const MIN_PLACES: usize = 1_024;
const MAX_PLACES: usize = 1 << 22;

/// Most records that may stand for one session.
const MAX_KEYS: usize = 4;

/// Counts changes, all records of one place together.
///
/// What was seen before a record was read, and is the same afterwards, shows that nothing was told
/// of the record in between, however the telling and the reading overlap. There is no list of what
/// is kept to look through: a change is one addition, and takes no lock.
pub(crate) struct Versions {
    place: RandomState,
    changes: Box<[AtomicU32]>,
}

/// How many changes there were of a session's records. They only grow, so their sum is the same when
/// each of them is; one that runs over does so after four thousand million changes of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    places: ArrayVec<u32, MAX_KEYS>,
    changes: u64,
}

impl Versions {
    pub(crate) fn for_entries(entries: usize) -> Self {
        let places = entries.saturating_mul(PLACES_PER_ENTRY);
        let places = places.clamp(MIN_PLACES, MAX_PLACES).next_power_of_two();
        Self {
            place: RandomState::new(),
            changes: (0..places).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The record under `key` has changed.
    pub(crate) fn change(&self, key: &[u8]) {
        self.at(self.place(key)).fetch_add(1, Ordering::AcqRel);
    }

    /// Looks before a session is read. `None` when its records are none, or too many.
    pub(crate) fn look(&self, keys: &[StoreKey]) -> Option<Seen> {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return None;
        }
        let places = keys.iter().map(|key| self.place(key.expose_secret()));
        let places: ArrayVec<_, MAX_KEYS> = places.collect();
        let changes = self.sum(&places);
        Some(Seen { places, changes })
    }

    /// Whether nothing has changed since.
    pub(crate) fn are_as(&self, seen: &Seen) -> bool {
        self.sum(&seen.places) == seen.changes
    }

    fn sum(&self, places: &[u32]) -> u64 {
        let changes = |place: &u32| u64::from(self.at(*place).load(Ordering::Acquire));
        places.iter().map(changes).sum()
    }

    fn at(&self, place: u32) -> &AtomicU32 {
        &self.changes[place as usize & (self.changes.len() - 1)]
    }

    fn place(&self, key: &[u8]) -> u32 {
        // Cut to 32 bits: there are fewer places than that.
        self.place.hash_one(key) as u32
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
    fn a_change_of_any_of_its_records_is_seen() {
        let versions = Versions::for_entries(100_000);
        let seen = versions.look(&keys(&["a", "b"])).unwrap();
        assert!(versions.are_as(&seen));
        versions.change(b"c");
        assert!(versions.are_as(&seen));
        versions.change(b"b");
        assert!(!versions.are_as(&seen));
        let seen = versions.look(&keys(&["a", "b"])).unwrap();
        versions.change(b"a");
        assert!(!versions.are_as(&seen));
    }

    #[test]
    fn a_session_without_records_or_with_too_many_cannot_be_watched() {
        let versions = Versions::for_entries(1);
        assert_eq!(versions.look(&[]), None);
        assert_eq!(versions.look(&keys(&["a"; MAX_KEYS + 1])), None);
        assert!(versions.look(&keys(&["a"; MAX_KEYS])).is_some());
    }

    #[test]
    fn of_a_thousand_copies_hardly_one_is_lost_to_a_change_of_another() {
        let versions = Versions::for_entries(1_000);
        let kept: Vec<_> = (0..1_000)
            .map(|n| versions.look(&keys(&[&format!("kept {n}")])).unwrap())
            .collect();
        versions.change(b"another");
        let lost = kept.iter().filter(|seen| !versions.are_as(seen)).count();
        assert!(lost <= 5, "{lost} of 1000");
    }
}
