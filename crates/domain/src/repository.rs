//! The port: what the session manager asks of a store.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use time::OffsetDateTime;

use zeroize::Zeroizing;

use crate::{RepositoryError, Session, SessionToken, StoreInstance, StoreKey, SubjectIndex};

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
    /// Knows whose sessions there are; [`NoSubjects`](crate::NoSubjects) if the repository keeps none
    /// of a subject.
    type Subjects: SubjectIndex;

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

    /// Reads the session as it is now, with what tells this state from every other. Does not slide.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt` or `NewerRecord`.
    fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<RevisedSession>, RepositoryError>> + Send;

    /// Stores `session` in place of the state that `seen` names, for `ttl` (whole seconds) from now
    /// on, if the session is still in that state: compare-and-swap, in one step of the store.
    ///
    /// # Errors
    /// `Unavailable` (it may or may not have been stored) or `Full` (it was not).
    fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<SwapOutcome, RepositoryError>> + Send;

    /// Stores `session` under the token `to`, for `ttl` (whole seconds), in place of the state that
    /// `seen` names under the token `from`, if that is still so. The new record stands before the old
    /// one goes, and when this was [`Relocated`](RelocateOutcome::Relocated), the old one is gone.
    ///
    /// # Errors
    /// `Unavailable` (it may or may not have been done; a record may stand under `to`) or `Full` (it
    /// was not done).
    fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<RelocateOutcome, RepositoryError>> + Send;

    /// The index of subjects.
    fn subjects(&self) -> &Self::Subjects;

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

/// What tells one state of a session from every other that it was or will be in: opaque, and only of
/// use to the repository that made it. It may hold cookies: its `Debug` shows nothing of it, and its
/// memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Revision(Zeroizing<Vec<u8>>);

impl Revision {
    /// A revision that these bytes name.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revision([redacted])")
    }
}

/// What [`SessionRepository::fetch_revision`] read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisedSession {
    /// The session.
    pub session: Session,
    /// The state that it is in.
    pub revision: Revision,
}

/// What [`SessionRepository::compare_and_swap`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SwapOutcome {
    /// The session is in the new state.
    Swapped,
    /// It is in another state than was seen; nothing was changed.
    Changed,
    /// There is no such session; nothing was changed.
    Gone,
}

/// What [`SessionRepository::relocate`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum RelocateOutcome {
    /// The session stands under the new token, and nothing under the old one.
    Relocated,
    /// It is in another state than was seen; it stays where it was.
    Changed,
    /// There is no session under the old token, and none under the new one.
    Gone,
    /// There was a record under the new token already; nothing was changed.
    TokenTaken,
    /// The part of the store where the new record would stand is away; nothing was changed.
    OutOfReach,
}

/// A repository can be shared.
impl<R: SessionRepository> SessionRepository for Arc<R> {
    type Subjects = R::Subjects;

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

    fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> impl Future<Output = Result<Option<RevisedSession>, RepositoryError>> + Send {
        R::fetch_revision(self, token)
    }

    fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<SwapOutcome, RepositoryError>> + Send {
        R::compare_and_swap(self, token, seen, session, ttl)
    }

    fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> impl Future<Output = Result<RelocateOutcome, RepositoryError>> + Send {
        R::relocate(self, from, seen, to, session, ttl)
    }

    fn subjects(&self) -> &Self::Subjects {
        R::subjects(self)
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
