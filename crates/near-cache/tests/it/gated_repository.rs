//! A repository whose readings wait at a gate, so that a test decides what happens meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{
    InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError, RevisedSession, Revision,
    Session, SessionRepository, SessionToken, StoreInstance, StoreKey, SwapOutcome,
};
use tee_session_memory_adapter::MemoryRepository;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

/// The instance that it says it is, at first.
pub(crate) const INSTANCE: StoreInstance = StoreInstance(7);

/// Reads, and hands out what was read when the gate lets it.
#[derive(Clone)]
pub(crate) struct GatedRepository {
    inner: MemoryRepository,
    gate: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    readings: Arc<AtomicUsize>,
    instance: Arc<AtomicU64>,
}

impl GatedRepository {
    /// Its gate is open.
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryRepository::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            reading: Arc::new(Semaphore::new(0)),
            readings: Arc::default(),
            instance: Arc::new(AtomicU64::new(7)),
        }
    }

    /// How many readings there were.
    pub(crate) fn readings(&self) -> usize {
        self.readings.load(Ordering::Relaxed)
    }

    /// From now on another server answers.
    pub(crate) fn move_to(&self, StoreInstance(instance): StoreInstance) {
        let instance = u64::try_from(instance).unwrap();
        self.instance.store(instance, Ordering::Relaxed);
    }

    pub(crate) fn shut(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(1_000);
    }

    /// Waits until one more reading has come to the gate.
    pub(crate) async fn has_read(&self) {
        self.reading.acquire().await.unwrap().forget();
    }

    async fn pass(&self) {
        self.readings.fetch_add(1, Ordering::Relaxed);
        self.reading.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
    }
}

impl SessionRepository for GatedRepository {
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
        let read = self.inner.fetch_and_slide(token, ttl).await;
        self.pass().await;
        read
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        let read = self.inner.peek(token).await;
        self.pass().await;
        read
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.inner.remove(token).await
    }

    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        self.inner.fetch_revision(token).await
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

    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
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

    fn instance(&self) -> Option<StoreInstance> {
        let instance = self.instance.load(Ordering::Relaxed);
        Some(StoreInstance(instance.into()))
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        vec![StoreKey::new(token.expose_secret().as_bytes())]
    }
}
