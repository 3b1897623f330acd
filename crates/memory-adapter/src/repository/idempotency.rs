//! Records of requests that clients may repeat, stored in memory.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tee_session_domain::{
    IdempotencyId, IdempotencyKey, IdempotencyRecord, IdempotencyStore, RepositoryError,
};
use time::OffsetDateTime;

use super::{CapacityReached, MemoryRepository, lock};

/// Records by id, and a queue of their expiry times.
#[derive(Debug, Default)]
pub(super) struct IdempotencyRecords {
    records: HashMap<IdempotencyId, Stored>,
    /// Expiry times in the order of the insertions. An entry whose record was forgotten stays until
    /// its time.
    queue: VecDeque<(OffsetDateTime, IdempotencyId)>,
}

#[derive(Debug)]
struct Stored {
    record: IdempotencyRecord,
    expires_at: OffsetDateTime,
}

impl IdempotencyRecords {
    /// Removes the records that have expired. Called before each use of the records.
    fn remove_expired(&mut self, now: OffsetDateTime) {
        while let Some((expires_at, id)) = self.queue.front().copied() {
            if expires_at > now {
                break;
            }
            self.queue.pop_front();
            // The id may belong to a newer record, which has a queue entry of its own.
            if self
                .records
                .get(&id)
                .is_some_and(|stored| stored.expires_at <= now)
            {
                self.records.remove(&id);
            }
        }
    }
}

impl IdempotencyStore for MemoryRepository {
    async fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<Option<IdempotencyRecord>, RepositoryError> {
        let now = self.0.clock.now();
        let mut all = lock(&self.0.idempotency);
        all.remove_expired(now);
        if let Some(stored) = all.records.get(&key.id()) {
            return Ok(Some(stored.record.clone()));
        }
        if all.queue.len() >= self.0.capacity {
            return Err(RepositoryError::full(CapacityReached {
                capacity: self.0.capacity,
            }));
        }
        let expires_at = now + ttl;
        let record = record.clone();
        all.records.insert(key.id(), Stored { record, expires_at });
        all.queue.push_back((expires_at, key.id()));
        Ok(None)
    }

    async fn find(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<IdempotencyRecord>, RepositoryError> {
        let mut all = lock(&self.0.idempotency);
        all.remove_expired(self.0.clock.now());
        let found = all.records.get(&key.id());
        Ok(found.map(|stored| stored.record.clone()))
    }

    async fn replace(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
    ) -> Result<(), RepositoryError> {
        let mut all = lock(&self.0.idempotency);
        all.remove_expired(self.0.clock.now());
        if let Some(stored) = all.records.get_mut(&key.id()) {
            stored.record = record.clone();
        }
        Ok(())
    }

    async fn forget(&self, key: &IdempotencyKey) -> Result<(), RepositoryError> {
        lock(&self.0.idempotency).records.remove(&key.id());
        Ok(())
    }
}
