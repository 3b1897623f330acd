//! Idempotency store of the in-memory repository: the records of requests that clients may repeat.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tee_session_domain::{
    BeginOutcome, IdempotencyId, IdempotencyKey, IdempotencyRecord, IdempotencyStore,
    RepositoryError, Revision, VersionedRecord,
};
use time::OffsetDateTime;

use super::{CapacityReached, MemoryRepository, lock, parse_revision, revision};

/// Idempotency records by id, and the order in which they expire.
#[derive(Debug, Default)]
pub(super) struct IdempotencyRecords {
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
    pub(super) fn remove_expired(&mut self, now: OffsetDateTime) {
        while let Some((expires_at, id)) = self.expiries.first().copied() {
            if expires_at > now {
                break;
            }
            self.expiries.pop_first();
            self.records.remove(&id);
        }
    }

    fn find(&self, id: IdempotencyId) -> Option<VersionedRecord> {
        self.records.get(&id).map(|stored| VersionedRecord {
            record: stored.record.clone(),
            revision: revision(stored.revision),
        })
    }

    fn has_revision(&self, id: IdempotencyId, seen: &Revision) -> bool {
        let stored = self.records.get(&id);
        stored.is_some_and(|stored| Some(stored.revision) == parse_revision(seen))
    }

    fn store(
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

    /// Returns the lengths of `records` and of `expiries`. If they differ, one of them has a leak.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.records.len(), self.expiries.len())
    }

    fn remove(&mut self, id: IdempotencyId) {
        if let Some(stored) = self.records.remove(&id) {
            self.expiries.remove(&(stored.expires_at, id));
        }
    }
}

impl IdempotencyStore for MemoryRepository {
    async fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<BeginOutcome, RepositoryError> {
        let now = self.0.clock.now();
        let mut all = lock(&self.0.idempotency);
        all.remove_expired(now);
        if let Some(existing) = all.find(key.id()) {
            return Ok(BeginOutcome::Exists(Box::new(existing)));
        }
        let capacity = self.0.capacity;
        if all.records.len() >= capacity {
            return Err(RepositoryError::full(CapacityReached { capacity }));
        }
        let revision = all.store(key.id(), record.clone(), now + ttl);
        Ok(BeginOutcome::Begun(revision))
    }

    async fn find(&self, key: &IdempotencyKey) -> Result<Option<VersionedRecord>, RepositoryError> {
        let mut all = lock(&self.0.idempotency);
        all.remove_expired(self.0.clock.now());
        Ok(all.find(key.id()))
    }

    async fn replace(
        &self,
        key: &IdempotencyKey,
        seen: &Revision,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<Option<Revision>, RepositoryError> {
        let now = self.0.clock.now();
        let mut all = lock(&self.0.idempotency);
        all.remove_expired(now);
        let is_unchanged = all.has_revision(key.id(), seen);
        Ok(is_unchanged.then(|| all.store(key.id(), record.clone(), now + ttl)))
    }

    async fn forget(&self, key: &IdempotencyKey, seen: &Revision) -> Result<bool, RepositoryError> {
        let mut all = lock(&self.0.idempotency);
        all.remove_expired(self.0.clock.now());
        let is_unchanged = all.has_revision(key.id(), seen);
        if is_unchanged {
            all.remove(key.id());
        }
        Ok(is_unchanged)
    }
}
