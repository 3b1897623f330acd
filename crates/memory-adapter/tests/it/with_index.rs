//! In-memory repository with a replaceable subject index.

use std::time::Duration;

use tee_session_domain::{
    InsertOutcome, MoveOutcome, RepositoryError, Revision, Session, SessionRepository,
    SessionToken, SessionWithTtl, SubjectIndex, SwapOutcome, VersionedSession,
};
use tee_session_memory_adapter::MemoryRepository;
use time::OffsetDateTime;

/// Stores sessions in memory, and their index entries in `index`.
#[derive(Clone)]
pub(crate) struct WithIndex<I> {
    pub(crate) inner: MemoryRepository,
    pub(crate) index: I,
}

impl<I> WithIndex<I> {
    pub(crate) fn advance_clock(&self, duration: Duration) {
        self.inner.clock().set(self.inner.now() + duration);
    }
}

impl<I: SubjectIndex> SessionRepository for WithIndex<I> {
    type Subjects = I;
    type Idempotency = <MemoryRepository as SessionRepository>::Idempotency;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.inner.insert(token, session, ttl).await
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        self.inner.load_and_touch(token, ttl).await
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        self.inner.load_with_ttl(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.inner.remove(token).await
    }

    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        self.inner.load_for_update(token, touch).await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        self.inner.compare_and_swap(token, seen, session, ttl).await
    }

    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        self.inner
            .move_to_new_token(from, seen, to, session, ttl)
            .await
    }

    fn subjects(&self) -> &I {
        &self.index
    }

    fn idempotency(&self) -> &Self::Idempotency {
        self.inner.idempotency()
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.inner.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        self.inner.now()
    }
}
