//! The port: what the session manager asks of a store.

use std::{future::Future, sync::Arc, time::Duration};

use time::OffsetDateTime;

use crate::{RepositoryError, Session, SessionToken, StoreInstance, StoreKey};

/// Keeps sessions by token, for a limited time.
///
/// A repository reports facts: what is stored, how long it will stay, what the store's clock
/// says. Policy (token generation, absolute lifetime, logging) is the
/// [`SessionManager`](crate::SessionManager)'s, once for all adapters.
///
/// Implementors MUST pass the contract suite (feature `contract-suite`), which states these
/// rules as tests:
///
/// - A session is gone when its time to live has passed without a slide. Gone is `Ok(None)` or
///   `Ok(false)`, never an error.
/// - After [`remove`](Self::remove) was acknowledged, no later call finds the session and no
///   call under way brings it back.
/// - A store that cannot answer is [`RepositoryError::Unavailable`], never "gone".
/// - A record that cannot be read is [`RepositoryError::Corrupt`], or
///   [`RepositoryError::NewerRecord`] if a newer release wrote it, and stays as it is.
/// - Errors and logs hold no token, no cookie and no key.
/// - Every call ends within a bound of the adapter's own, whatever the store does.
pub trait SessionRepository: Send + Sync + 'static {
    /// Stores `session` under `token` for `ttl` (whole seconds), unless there is a record
    /// already: that one MUST stay as it is.
    ///
    /// # Errors
    /// `Unavailable` (the session may or may not have been stored) or `Full` (it was not).
    fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<InsertOutcome, RepositoryError>> + Send;

    /// Reads the session and lets it live for `ttl` (whole seconds) from now on, in one round
    /// trip. A record without an expiry gets one.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send;

    /// Reads the session and changes nothing, in one round trip: for one that was slid just now.
    /// Unless an adapter can do it cheaper, it looks as [`peek`](Self::peek) does.
    ///
    /// A store with replicas may answer from one that does not know yet that it is none of the
    /// primaries any more, for as long as its adapter takes to find out.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn fetch(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send {
        async move { Ok(self.peek(token).await?.map(|peeked| peeked.session)) }
    }

    /// Reads the session and its remaining time to live, changing neither.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn peek(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<PeekedSession>, RepositoryError>> + Send;

    /// Removes the session. `true` when this call removed it, `false` when there was none.
    ///
    /// # Errors
    /// `Unavailable`: the session may or may not be gone.
    fn remove(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send;

    /// Asks the store whether it serves, now.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    fn ping(&self) -> impl Future<Output = Result<(), RepositoryError>> + Send;

    /// The time on the store's clock, known without asking the store.
    fn now(&self) -> OffsetDateTime;

    /// Whether the store is in parts that can be away one by one, as those of a Redis Cluster: then
    /// a call that fails says nothing of the store as a whole, and [`ping`](Self::ping) does.
    fn is_in_parts(&self) -> bool {
        false
    }

    /// The server that calls go to now, if the store tells a
    /// [`ChangeListener`](crate::ChangeListener) of every change there. `None`, as it is unless an
    /// adapter says more: what it answers must not be kept.
    fn instance(&self) -> Option<StoreInstance> {
        None
    }

    /// What the records that may stand for the session are called in such a store: at least one,
    /// and at most four.
    fn store_keys(&self, _token: &SessionToken) -> Vec<StoreKey> {
        Vec::new()
    }

    /// Takes leave of the store, within a bound of the adapter's own. Later calls may fail with
    /// `Unavailable`. Does nothing unless an adapter has something to leave.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What [`SessionRepository::insert`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum InsertOutcome {
    /// The session is stored.
    Inserted,
    /// There was a record under this token already; nothing was changed.
    TokenTaken,
    /// The part of the store where a session with this token would stand is away, and others, for
    /// other tokens, are not; nothing was changed. For stores that are in parts.
    OutOfReach,
}

/// What [`SessionRepository::peek`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeekedSession {
    /// The session.
    pub session: Session,
    /// How long the store will keep it; `None` when somebody took its expiry away (the next
    /// slide sets it again).
    pub remaining: Option<Duration>,
}

/// A repository can be shared.
impl<R: SessionRepository> SessionRepository for Arc<R> {
    fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<InsertOutcome, RepositoryError>> + Send {
        R::insert(self, token, session, ttl)
    }

    fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send {
        R::fetch_and_slide(self, token, ttl)
    }

    fn fetch(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send {
        R::fetch(self, token)
    }

    fn peek(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<PeekedSession>, RepositoryError>> + Send {
        R::peek(self, token)
    }

    fn remove(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send {
        R::remove(self, token)
    }

    fn ping(&self) -> impl Future<Output = Result<(), RepositoryError>> + Send {
        R::ping(self)
    }

    fn now(&self) -> OffsetDateTime {
        R::now(self)
    }

    fn is_in_parts(&self) -> bool {
        R::is_in_parts(self)
    }

    fn instance(&self) -> Option<StoreInstance> {
        R::instance(self)
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        R::store_keys(self, token)
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        R::close(self)
    }
}
