//! Session repository for tests: the embedded store, with a hook that runs before each call for an
//! existing session.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{
    MoveOutcome, RepositoryError, RepositoryLayer, Revision, Session, SessionRepository,
    SessionToken, SessionWithTtl, SwapOutcome, VersionedSession,
};
use tee_session_memory_adapter::MemoryRepository;

type Hook = dyn Fn(&SessionToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

#[derive(Clone)]
pub(crate) struct HookedRepository {
    inner: MemoryRepository,
    hook: Arc<Hook>,
    is_contended: Arc<AtomicBool>,
}

impl HookedRepository {
    /// Creates a repository that runs `hook` before each call for an existing session. The creation
    /// of a session does not run `hook`.
    pub(crate) fn new<F>(hook: impl Fn(&SessionToken) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            hook: Arc::new(move |token| Box::pin(hook(token))),
            ..Self::without_hook(MemoryRepository::default())
        }
    }

    /// Creates a repository that forwards each call to `inner`.
    pub(crate) fn without_hook(inner: MemoryRepository) -> Self {
        Self {
            inner,
            hook: Arc::new(|_| Box::pin(async {})),
            is_contended: Arc::default(),
        }
    }

    /// Creates a repository in which each change of a session fails, as if another request had
    /// changed the session at the same time.
    pub(crate) fn contended() -> Self {
        Self::contended_while(&Arc::new(AtomicBool::new(true)))
    }

    /// Creates a repository in which changes fail as in [`contended`](Self::contended) while
    /// `is_contended` is `true`, and succeed once it is `false`.
    pub(crate) fn contended_while(is_contended: &Arc<AtomicBool>) -> Self {
        Self {
            is_contended: Arc::clone(is_contended),
            ..Self::without_hook(MemoryRepository::default())
        }
    }
}

impl RepositoryLayer for HookedRepository {
    type Inner = MemoryRepository;

    fn inner(&self) -> &MemoryRepository {
        &self.inner
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        (self.hook)(token).await;
        self.inner.load_and_touch(token, ttl).await
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        (self.hook)(token).await;
        self.inner.load(token).await
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        (self.hook)(token).await;
        self.inner.load_with_ttl(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        (self.hook)(token).await;
        self.inner.remove(token).await
    }

    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        (self.hook)(token).await;
        self.inner.load_for_update(token, touch).await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        (self.hook)(token).await;
        if self.is_contended.load(Ordering::SeqCst) {
            return Ok(SwapOutcome::Changed);
        }
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
        (self.hook)(from).await;
        if self.is_contended.load(Ordering::SeqCst) {
            return Ok(MoveOutcome::Changed);
        }
        self.inner
            .move_to_new_token(from, seen, to, session, ttl)
            .await
    }

    async fn move_repeatably(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        SessionRepository::move_to_new_token(self, from, seen, to, session, ttl).await
    }
}
