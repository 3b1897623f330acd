//! Idempotency store of the in-memory repository: the records of requests that clients may repeat.

use std::time::Duration;

use tee_session_domain::{
    BeginOutcome, IdempotencyKey, IdempotencyRecord, IdempotencyStore, RepositoryError, Revision,
    VersionedRecord,
};

use super::{CapacityReached, MemoryRepository, lock};

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
        if all.len() >= capacity {
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
