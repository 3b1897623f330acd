//! Repository port (interface): the operations that the session manager needs from a session store.

use std::{future::Future, time::Duration};

use time::OffsetDateTime;

use crate::{
    IdempotencyStore, RepositoryError, Revision, Session, SessionToken, StoreInstance, StoreKey,
    SubjectIndex,
};

/// Stores sessions by token, for a limited time.
///
/// A repository only reports facts: the stored session, its remaining TTL, and the time on the
/// store's clock. The [`SessionManager`](crate::SessionManager) decides everything else in the same
/// way for all adapters: token generation, absolute lifetime and logging.
///
/// An adapter implements this trait. A decorator of another repository implements
/// [`RepositoryLayer`](crate::RepositoryLayer) instead.
///
/// Every implementation MUST pass the contract suite (feature `contract-suite`). The suite tests
/// these rules, except what an adapter logs:
///
/// - If the TTL of a session has passed without a touch (TTL renewal), no call finds the session. A
///   missing session is reported as `Ok(None)` or `Ok(false)`, never as an error.
/// - After [`remove`](Self::remove) was acknowledged, no later call finds the session, and no
///   concurrent call restores it.
/// - If the store cannot reply, the result is [`RepositoryError::Unavailable`]. The session is
///   never reported as missing.
/// - If a record cannot be read, the result is [`RepositoryError::Corrupt`], or
///   [`RepositoryError::NewerRecord`] if a newer release wrote the record. The record stays
///   unchanged.
/// - Errors and log events contain no token, no cookie and no key of a record.
/// - Every call ends within a time limit set by the adapter, even if the store hangs.
///
/// Some methods have a default implementation. The defaults are correct for a store in the memory
/// of the process. An adapter of another store MUST override:
///
/// - [`ping`](Self::ping), if the store can be unavailable.
/// - [`check_permissions`](Self::check_permissions), if the store has users with permissions.
/// - [`close`](Self::close), if the adapter has connections or tasks.
/// - [`move_repeatably`](Self::move_repeatably) and [`was_moved`](Self::was_moved), if
///   [`move_to_new_token`](Self::move_to_new_token) is not one atomic step.
/// - [`is_partitioned`](Self::is_partitioned), if partitions of the store can be unavailable
///   separately.
/// - [`instance`](Self::instance) and [`store_keys`](Self::store_keys), if a cache may keep copies
///   of the sessions.
///
/// Overriding [`load`](Self::load) is optional: it only makes reads cheaper.
pub trait SessionRepository: Send + Sync + 'static {
    /// Type of the repository's subject index. [`NoSubjects`](crate::NoSubjects) if the repository
    /// does not support subjects.
    type Subjects: SubjectIndex;

    /// Type of the repository's store for the records of requests that clients may repeat.
    /// [`NoIdempotency`](crate::NoIdempotency) if the repository keeps no such records.
    type Idempotency: IdempotencyStore;

    /// Stores `session` under `token` with the TTL `ttl` (whole seconds). If `token` already has a
    /// record, that record MUST stay unchanged, even if it cannot be read, and the outcome is
    /// [`TokenTaken`](InsertOutcome::TokenTaken).
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the session was stored.
    /// - `Full`: the session was not stored.
    fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<InsertOutcome, RepositoryError>> + Send;

    /// Loads the session and touches it: sets its TTL to `ttl` (whole seconds). Both happen in one
    /// round trip. If the record has no expiry, it gets one. Returns `None` if there is no session.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send;

    /// Loads the session without renewing its TTL, in one round trip. Returns `None` if there is no
    /// session. The session manager calls this method if the TTL was renewed recently.
    ///
    /// The default implementation calls [`load_with_ttl`](Self::load_with_ttl). An adapter can
    /// override `load` with a cheaper operation. With replication, the result may be outdated: a
    /// demoted primary may reply until the adapter notices the failover.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn load(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send {
        async move {
            Ok(self
                .load_with_ttl(token)
                .await?
                .map(|loaded| loaded.session))
        }
    }

    /// Loads the session and its remaining TTL, without renewing the TTL. Returns `None` if there
    /// is no session.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<SessionWithTtl>, RepositoryError>> + Send;

    /// Removes the session. Returns `true` if this call removed the session, and `false` if there
    /// was no session.
    ///
    /// # Errors
    /// `Unavailable`: it is unknown whether the session was removed.
    fn remove(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send;

    /// Loads the session together with a revision that identifies its current state. The adapter
    /// chooses the content of the revision, such as a version number or the bytes of the record.
    /// Sets the TTL of the session to `touch` (whole seconds), or does not renew the TTL if `touch`
    /// is `None`. Returns `None` if there is no session.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> impl Future<Output = Result<Option<VersionedSession>, RepositoryError>> + Send;

    /// Replaces the stored session with `session` and sets its TTL to `ttl` (whole seconds), if the
    /// stored session has not changed since the revision `seen` was read. Otherwise, changes
    /// nothing. A touch (TTL renewal) does not count as a change, so a revision must not depend on
    /// the TTL. Comparison and replacement are one atomic step of the store (compare-and-swap).
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the session was replaced.
    /// - `Full`: the session was not replaced.
    fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<SwapOutcome, RepositoryError>> + Send;

    /// Moves the session from the token `from` to the token `to`, if the session under `from` has
    /// not changed since the revision `seen` was read. Stores `session` under `to` with the TTL
    /// `ttl` (whole seconds).
    ///
    /// The record under `to` is stored before the record under `from` is removed. If the outcome is
    /// [`Moved`](MoveOutcome::Moved), there is no record under `from`.
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the session was moved. There may be a record under
    ///   `to`.
    /// - `Full`: the session was not moved.
    fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<MoveOutcome, RepositoryError>> + Send;

    /// Moves the session like [`move_to_new_token`](Self::move_to_new_token), but may be called
    /// several times for the same token `to`. If the outcome of a call is unknown, the caller can
    /// load the session again and repeat the call with the new revision.
    ///
    /// While the session is stored under `from`, no call of this method removes the record that an
    /// earlier call has stored under `to`. If the outcome is [`Gone`](MoveOutcome::Gone),
    /// [`was_moved`](Self::was_moved) shows whether an earlier call has moved the session.
    ///
    /// The default implementation is for stores that move a session in one atomic step.
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the session was moved. The session is stored under
    ///   `from`, under `to` or under both.
    /// - `Full`: the session was not moved.
    fn move_repeatably(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<MoveOutcome, RepositoryError>> + Send {
        self.move_to_new_token(from, seen, to, session, ttl)
    }

    /// Returns `true` if an earlier call of [`move_repeatably`](Self::move_repeatably) has moved a
    /// session from the token `from` to the token `to`. The moved session may have ended in the
    /// meantime. Returns `false` if the session under `from` ended in another way. In that case,
    /// there is no record under `to` after this call.
    ///
    /// Must be called only if there is no record under `from`, and within two minutes after the
    /// last call of [`move_repeatably`](Self::move_repeatably) that may have moved the session.
    ///
    /// The default implementation returns `true`, for stores that move a session in one atomic
    /// step. In such a store, a record under `to` proves that the session was moved.
    ///
    /// # Errors
    /// `Unavailable`: it is unknown whether the session was moved.
    fn was_moved(
        &self,
        _from: &SessionToken,
        _to: &SessionToken,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send {
        async { Ok(true) }
    }

    /// Returns the subject index of the repository.
    fn subjects(&self) -> &Self::Subjects;

    /// Returns the store for the records of requests that clients may repeat.
    fn idempotency(&self) -> &Self::Idempotency;

    /// Checks whether the store serves requests now. A service calls this method regularly, and
    /// takes its readiness from the result.
    ///
    /// The default implementation always succeeds, for stores in the memory of the process. An
    /// adapter whose store can be unavailable MUST override it. Otherwise, the service reports
    /// itself as ready while the store is unavailable.
    ///
    /// # Errors
    /// `Unavailable` if the store does not serve requests.
    fn ping(&self) -> impl Future<Output = Result<(), RepositoryError>> + Send {
        async { Ok(()) }
    }

    /// Checks that the store permits the operations that the service always needs. A service calls
    /// this method after each successful [`ping`](Self::ping). The default implementation always
    /// succeeds, for stores without permissions.
    ///
    /// # Errors
    /// [`RepositoryError::Misconfigured`] if a permission or a command is missing. Other errors
    /// mean that the check could not be made.
    fn check_permissions(&self) -> impl Future<Output = Result<(), RepositoryError>> + Send {
        async { Ok(()) }
    }

    /// Returns the current time on the store's clock, without a request to the store. An adapter
    /// whose store has a clock of its own keeps a [`StoreClock`](crate::StoreClock), and corrects
    /// it with each time that the store reports.
    fn now(&self) -> OffsetDateTime;

    /// Returns `true` if the store consists of partitions that can be unavailable separately, as a
    /// Redis Cluster does. In that case, only a failed [`ping`](Self::ping) shows that the whole
    /// store is unavailable. Another failed call may concern only one partition.
    fn is_partitioned(&self) -> bool {
        false
    }

    /// Returns the identifier of the store server that currently receives the repository's calls.
    /// Returns `None` (the default) if sessions from this repository must not be cached, because
    /// the store does not report every change to an
    /// [`InvalidationListener`](crate::InvalidationListener).
    fn instance(&self) -> Option<StoreInstance> {
        None
    }

    /// Returns all keys under which the store may keep the record of the session. If the store
    /// reports changes to an [`InvalidationListener`](crate::InvalidationListener), there are one
    /// to four keys. The default implementation returns no keys.
    fn store_keys(&self, _token: &SessionToken) -> Vec<StoreKey> {
        Vec::new()
    }

    /// Disconnects from the store, within a time limit set by the adapter. Calls after `close` may
    /// fail with `Unavailable`. The default implementation does nothing.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Outcome of [`SessionRepository::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum InsertOutcome {
    /// The session was stored under the token.
    Inserted,
    /// The token already has a record, so nothing was stored.
    TokenTaken,
    /// The partition for this token is unavailable. Nothing was changed. Partitions for other
    /// tokens may be available, so the caller can try another token. Only partitioned stores return
    /// this outcome.
    PartitionUnavailable,
}

/// Session and remaining TTL that [`SessionRepository::load_with_ttl`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionWithTtl {
    /// Session as it is stored.
    pub session: Session,
    /// Remaining TTL of the record in the store. `None` if another program removed the expiry of
    /// the record. The next touch (TTL renewal) sets an expiry again.
    pub remaining: Option<Duration>,
}

/// Session and revision that [`SessionRepository::load_for_update`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedSession {
    /// Session as it is stored.
    pub session: Session,
    /// Revision that identifies the current state of the session.
    pub revision: Revision,
}

/// Outcome of [`SessionRepository::compare_and_swap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SwapOutcome {
    /// The stored session was replaced.
    Swapped,
    /// The stored session has changed since the revision was read, so this call changed nothing.
    Changed,
    /// The session does not exist, so nothing was changed.
    Gone,
}

/// Outcome of [`SessionRepository::move_to_new_token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum MoveOutcome {
    /// The session is stored under the token `to`. There is no record under the token `from`.
    Moved,
    /// Nothing was moved, because the session has changed since the revision was read. The session
    /// is still stored under the token `from`.
    Changed,
    /// Nothing was moved, because there is no session under the token `from`. The call leaves no
    /// record of its own under the token `to`.
    Gone,
    /// The token `to` already has a record. Nothing was changed. If, in addition, the token `from`
    /// has no session, a store may return this outcome or [`Gone`](Self::Gone).
    TokenTaken,
    /// The partition for the token `to` is unavailable. Nothing was changed.
    PartitionUnavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_returns_its_bytes_but_debug_output_is_redacted() {
        let revision = Revision::new(b"s3cret".to_vec());
        assert_eq!(revision.expose_secret(), b"s3cret");
        assert_eq!(format!("{revision:?}"), "Revision([redacted])");
    }
}
