//! Port (interface) for the records of requests that clients may repeat.

use std::{future::Future, time::Duration};

use crate::{IdempotencyKey, IdempotencyRecord, RepositoryError, Revision};

/// Stores the records of requests with an `Idempotency-Key`, for a limited time.
///
/// Several requests with one key can run at the same time, on different instances. To change or
/// remove a record, a caller therefore passes the revision that it last read or wrote. If the
/// record has another revision by then, nothing is changed. Each time a store writes a record, it
/// assigns a revision that it has never used before.
///
/// A store must encrypt the records with [`IdempotencyKey::sealing_key`] unless they stay in the
/// memory of this process, because a record contains a session token.
pub trait IdempotencyStore: Clone + Send + Sync + 'static {
    /// Returns `true` if the store keeps idempotency records. If the result is `false`, a service
    /// must carry out every request as if it had no `Idempotency-Key`.
    fn keeps_records(&self) -> bool {
        true
    }

    /// Stores `record` with the lifetime `ttl` (whole seconds) if there is no record with this key.
    /// Returns the existing record otherwise, and leaves it unchanged.
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the record was stored, or the existing record cannot
    ///   be read. If the record was stored, the store removes it again as soon as it can, unless
    ///   another request has changed it.
    /// - `Full`: the store has no room for the record.
    /// - `NewerRecord`: a newer release wrote the existing record.
    fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> impl Future<Output = Result<BeginOutcome, RepositoryError>> + Send;

    /// Loads the record. Returns `None` if there is no record with this key.
    ///
    /// # Errors
    /// `Unavailable` or `NewerRecord`.
    fn find(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Option<VersionedRecord>, RepositoryError>> + Send;

    /// Replaces the record, and sets its lifetime to `ttl` (whole seconds), if the stored record
    /// has not changed since the revision `seen`. Returns the new revision. If the record
    /// has changed or does not exist any more, changes nothing and returns `None`. Comparison and
    /// replacement are one atomic step of the store (compare-and-swap).
    ///
    /// # Errors
    /// `Unavailable`: it is unknown whether the record was replaced.
    fn replace(
        &self,
        key: &IdempotencyKey,
        seen: &Revision,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<Revision>, RepositoryError>> + Send;

    /// Removes the record if it has not changed since the revision `seen`. Returns `true` if this
    /// call removed the record. Comparison and removal are one atomic step of the store.
    ///
    /// # Errors
    /// `Unavailable`: it is unknown whether the record was removed.
    fn forget(
        &self,
        key: &IdempotencyKey,
        seen: &Revision,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send;
}

/// Outcome of [`IdempotencyStore::begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum BeginOutcome {
    /// The record was stored, and now has this revision.
    Begun(Revision),
    /// The store already has a record with this key. Nothing was changed.
    Exists(Box<VersionedRecord>),
}

/// An idempotency record as it is stored, and its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedRecord {
    /// Record as it is stored.
    pub record: IdempotencyRecord,
    /// Revision that identifies the current state of the record.
    pub revision: Revision,
}

/// A store that keeps no idempotency records.
///
/// An adapter without such records declares `type Idempotency = NoIdempotency`. A request with an
/// `Idempotency-Key` is then carried out as if it had no key. A repetition of a login creates a
/// second session. A repetition of a rotation fails, because the old token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoIdempotency;

impl IdempotencyStore for NoIdempotency {
    fn keeps_records(&self) -> bool {
        false
    }

    async fn begin(
        &self,
        _: &IdempotencyKey,
        _: &IdempotencyRecord,
        _: Duration,
    ) -> Result<BeginOutcome, RepositoryError> {
        Ok(BeginOutcome::Begun(Revision::new(Vec::new())))
    }

    async fn find(&self, _: &IdempotencyKey) -> Result<Option<VersionedRecord>, RepositoryError> {
        Ok(None)
    }

    async fn replace(
        &self,
        _: &IdempotencyKey,
        _: &Revision,
        _: &IdempotencyRecord,
        _: Duration,
    ) -> Result<Option<Revision>, RepositoryError> {
        Ok(Some(Revision::new(Vec::new())))
    }

    async fn forget(&self, _: &IdempotencyKey, _: &Revision) -> Result<bool, RepositoryError> {
        Ok(true)
    }
}
