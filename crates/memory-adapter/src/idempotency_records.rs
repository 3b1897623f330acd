//! Idempotency records of the in-memory repository, and their expiry.

use std::collections::{BTreeSet, HashMap};

use tee_session_domain::{IdempotencyId, IdempotencyRecord, Revision, VersionedRecord};
use time::OffsetDateTime;

use crate::revision::{parse_revision, revision};

/// Idempotency records by id, and the order in which they expire.
#[derive(Debug, Default)]
pub(crate) struct IdempotencyRecords {
    records: HashMap<IdempotencyId, Stored>,
    /// Expiry time and id of each idempotency record.
    expiries: BTreeSet<(OffsetDateTime, IdempotencyId)>,
    /// Last assigned revision number. All idempotency records share one sequence of numbers.
    last_revision: u64,
}

#[derive(Debug)]
struct Stored {
    record: IdempotencyRecord,
    revision: u64,
    expires_at: OffsetDateTime,
}

impl IdempotencyRecords {
    /// Removes the idempotency records that have expired. Called before each use of the records,
    /// and by each ping.
    pub(crate) fn remove_expired(&mut self, now: OffsetDateTime) {
        while let Some((expires_at, id)) = self.expiries.first().copied() {
            if expires_at > now {
                break;
            }
            self.expiries.pop_first();
            self.records.remove(&id);
        }
    }

    pub(crate) fn find(&self, id: IdempotencyId) -> Option<VersionedRecord> {
        self.records.get(&id).map(|stored| VersionedRecord {
            record: stored.record.clone(),
            revision: revision(stored.revision),
        })
    }

    pub(crate) fn has_revision(&self, id: IdempotencyId, seen: &Revision) -> bool {
        let stored = self.records.get(&id);
        stored.is_some_and(|stored| Some(stored.revision) == parse_revision(seen))
    }

    pub(crate) fn store(
        &mut self,
        id: IdempotencyId,
        record: IdempotencyRecord,
        expires_at: OffsetDateTime,
    ) -> Revision {
        self.remove(id);
        self.last_revision += 1;
        let stored = Stored {
            record,
            revision: self.last_revision,
            expires_at,
        };
        self.records.insert(id, stored);
        self.expiries.insert((expires_at, id));
        revision(self.last_revision)
    }

    /// Returns the number of stored idempotency records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the lengths of `records` and of `expiries`. If they differ, one of them has a leak.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.records.len(), self.expiries.len())
    }

    pub(crate) fn remove(&mut self, id: IdempotencyId) {
        if let Some(stored) = self.records.remove(&id) {
            self.expiries.remove(&(stored.expires_at, id));
        }
    }
}
