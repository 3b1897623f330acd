//! The embedded store, with something that happens before each call about a session.

use std::{pin::Pin, sync::Arc, time::Duration};

use tee_session_domain::{
    InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError, RevisedSession, Revision,
    Session, SessionRepository, SessionToken, SwapOutcome,
};
use tee_session_memory_adapter::MemoryRepository;
use time::OffsetDateTime;

type Hook = dyn Fn(&SessionToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

#[derive(Clone)]
pub(crate) struct HookedRepository {
    inner: MemoryRepository,
    hook: Arc<Hook>,
    is_contended: bool,
}

impl HookedRepository {
    /// `hook` is called for each call about a session, and waited for; not for their creation.
    pub(crate) fn new<F>(hook: impl Fn(&SessionToken) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            inner: MemoryRepository::default(),
            hook: Arc::new(move |token| Box::pin(hook(token))),
            is_contended: false,
        }
    }

    /// Somebody else always was faster to change a session.
    pub(crate) fn contended() -> Self {
        Self {
            is_contended: true,
            ..Self::new(|_| async {})
        }
    }
}

impl SessionRepository for HookedRepository {
    type Subjects = MemoryRepository;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.inner.insert(token, session, ttl).await
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        (self.hook)(token).await;
        self.inner.fetch_and_slide(token, ttl).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        (self.hook)(token).await;
        self.inner.peek(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        (self.hook)(token).await;
        self.inner.remove(token).await
    }

    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        (self.hook)(token).await;
        self.inner.fetch_revision(token).await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        (self.hook)(token).await;
        if self.is_contended {
            return Ok(SwapOutcome::Changed);
        }
        self.inner.compare_and_swap(token, seen, session, ttl).await
    }

    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
        (self.hook)(from).await;
        if self.is_contended {
            return Ok(RelocateOutcome::Changed);
        }
        self.inner.relocate(from, seen, to, session, ttl).await
    }

    fn subjects(&self) -> &Self::Subjects {
        self.inner.subjects()
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.inner.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        self.inner.now()
    }
}
