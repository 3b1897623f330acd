//! A test repository in which each read waits at a gate, so that a test controls what happens
//! during the read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{
    RepositoryError, RepositoryLayer, Session, SessionRepository, SessionToken, SessionWithTtl,
    StoreInstance, StoreKey,
};
use tee_session_memory_adapter::MemoryRepository;
use tokio::sync::Semaphore;

/// Id of the store server to which the test repository claims to be connected, until `move_to`
/// changes the id.
pub(crate) const INSTANCE: StoreInstance = StoreInstance(7);

/// An in-memory repository with a gate for reads. A read gets its result from memory at once, but
/// returns the result only when the gate is open.
#[derive(Clone)]
pub(crate) struct GatedRepository {
    inner: MemoryRepository,
    gate: Arc<Semaphore>,
    waiting_reads: Arc<Semaphore>,
    reads: Arc<AtomicUsize>,
    instance: Arc<AtomicU64>,
}

impl GatedRepository {
    /// Creates an empty repository whose gate is open.
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryRepository::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            waiting_reads: Arc::new(Semaphore::new(0)),
            reads: Arc::default(),
            instance: Arc::new(AtomicU64::new(7)),
        }
    }

    /// Returns the number of reads that have arrived at the gate since the creation of the
    /// repository.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// Makes the repository report the store server `instance` from now on.
    pub(crate) fn move_to(&self, StoreInstance(instance): StoreInstance) {
        let instance = u64::try_from(instance).unwrap();
        self.instance.store(instance, Ordering::Relaxed);
    }

    pub(crate) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1_000);
    }

    /// Waits until one more read has arrived at the gate.
    pub(crate) async fn wait_for_read(&self) {
        self.waiting_reads.acquire().await.unwrap().forget();
    }

    async fn pass_gate(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.waiting_reads.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
    }
}

impl RepositoryLayer for GatedRepository {
    type Inner = MemoryRepository;

    fn inner(&self) -> &MemoryRepository {
        &self.inner
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let read = self.inner.load_and_touch(token, ttl).await;
        self.pass_gate().await;
        read
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        let read = self.inner.load(token).await;
        self.pass_gate().await;
        read
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        let read = self.inner.load_with_ttl(token).await;
        self.pass_gate().await;
        read
    }

    fn instance(&self) -> Option<StoreInstance> {
        let instance = self.instance.load(Ordering::Relaxed);
        Some(StoreInstance(instance.into()))
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        vec![StoreKey::new(token.expose_secret().as_bytes())]
    }
}
