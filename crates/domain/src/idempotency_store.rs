//! Port (interface) for the records of requests that clients may repeat.

use std::{future::Future, time::Duration};

use crate::{IdempotencyKey, IdempotencyRecord, RepositoryError};

/// Stores the records of requests with an `Idempotency-Key`, for a limited time.
///
/// A store must encrypt the records with [`IdempotencyKey::sealing_key`] unless they stay in the
/// memory of this process, because a record contains a session token.
pub trait IdempotencyStore: Clone + Send + Sync + 'static {
    /// Stores `record` with the lifetime `ttl` (whole seconds) if there is no record with this key.
    /// Returns the existing record otherwise, and leaves it unchanged.
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the record was stored, or the existing record cannot be
    ///   read.
    /// - `Full`: the store has no room for the record.
    /// - `NewerRecord`: a newer release wrote the existing record.
    fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<IdempotencyRecord>, RepositoryError>> + Send;

    /// Loads the record. Returns `None` if there is no record with this key.
    ///
    /// # Errors
    /// `Unavailable` or `NewerRecord`.
    fn find(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Option<IdempotencyRecord>, RepositoryError>> + Send;

    /// Replaces the record, and keeps its remaining lifetime. Does nothing if there is no record
    /// with this key.
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the record was replaced.
    /// - `Full`: the record was not replaced.
    fn replace(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
    ) -> impl Future<Output = Result<(), RepositoryError>> + Send;

    /// Removes the record if there is one.
    ///
    /// # Errors
    /// `Unavailable`: it is unknown whether the record was removed.
    fn forget(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<(), RepositoryError>> + Send;
}
