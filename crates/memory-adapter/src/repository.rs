//! The repository: shards, a bound, and a clock.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{
    InsertOutcome, PeekedSession, RepositoryError, Session, SessionRepository, SessionToken,
    StoreClock,
};
use thiserror::Error;
use time::OffsetDateTime;

use crate::shard::{Removed, Shard};

/// A power of two well above the threads of a machine keeps them out of each other's way.
const SHARDS: usize = 64;

/// Due queue entries that a call looks at on its way: with two for each session that a call
/// adds, memory is freed faster than it fills.
const SWEEP_PER_CALL: usize = 2;

/// Sessions in the memory of this process. Clones share one store.
///
/// ```
/// use tee_session_memory_adapter::MemoryRepository;
///
/// let repository = MemoryRepository::with_capacity(1_000);
/// assert_eq!(repository.held_sessions(), 0);
/// ```
#[derive(Debug, Clone)]
pub struct MemoryRepository(Arc<Store>);

#[derive(Debug)]
struct Store {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: StoreClock,
    capacity: usize,
    sessions: AtomicUsize,
}

impl MemoryRepository {
    /// How many sessions it holds when nothing else is chosen.
    pub const DEFAULT_CAPACITY: usize = 100_000;

    /// An empty store for at most `capacity` live sessions.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_clock(capacity, StoreClock::from_system())
    }

    fn with_clock(capacity: usize, clock: StoreClock) -> Self {
        Self(Arc::new(Store {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            clock,
            capacity,
            sessions: AtomicUsize::new(0),
        }))
    }

    /// How many sessions it holds, including those that ended and were not swept yet.
    #[must_use]
    pub fn held_sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// The clock that decides expiry: setting it lets tests travel in time.
    #[must_use]
    pub fn clock(&self) -> &StoreClock {
        &self.0.clock
    }
}

impl Default for MemoryRepository {
    fn default() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }
}

impl Store {
    /// The shard of `token`, with what is due at its front swept.
    fn shard(&self, token: &SessionToken, now: OffsetDateTime) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(token) as usize % self.shards.len();
        let mut shard = lock(&self.shards[index]);
        self.forget(shard.sweep(now, SWEEP_PER_CALL));
        shard
    }

    /// Removes every session that has ended.
    fn sweep(&self, now: OffsetDateTime) {
        for shard in &self.shards {
            self.forget(lock(shard).sweep(now, usize::MAX));
        }
    }

    /// Takes a place for one session, or says that there is none.
    fn reserve(&self) -> bool {
        self.sessions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sessions| {
                (sessions < self.capacity).then_some(sessions + 1)
            })
            .is_ok()
    }

    fn forget(&self, sessions: usize) {
        self.sessions.fetch_sub(sessions, Ordering::Relaxed);
    }
}

/// No call panics between two changes that belong together, so a poisoned shard is sound.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionRepository for MemoryRepository {
    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        let store = &self.0;
        let now = store.clock.now();
        if !store.reserve() {
            store.sweep(now);
            if !store.reserve() {
                return Err(RepositoryError::full(CapacityReached {
                    capacity: store.capacity,
                }));
            }
        }
        let outcome = store.shard(token, now).insert(token, session, now + ttl);
        if outcome == InsertOutcome::TokenTaken {
            store.forget(1);
        }
        Ok(outcome)
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let now = self.0.clock.now();
        Ok(self.0.shard(token, now).slide(token, now, now + ttl))
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        let now = self.0.clock.now();
        let peeked = self.0.shard(token, now).peek(token, now);
        Ok(peeked.map(|(session, remaining)| PeekedSession {
            session,
            remaining: Some(remaining),
        }))
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let now = self.0.clock.now();
        let removed = self.0.shard(token, now).remove(token, now);
        if removed != Removed::Nothing {
            self.0.forget(1);
        }
        Ok(removed == Removed::Live)
    }

    /// Always succeeds. Sweeps on its way, so that a service that asks now and then frees the
    /// memory of ended sessions although no request comes.
    async fn ping(&self) -> Result<(), RepositoryError> {
        self.0.sweep(self.0.clock.now());
        Ok(())
    }

    fn now(&self) -> OffsetDateTime {
        self.0.clock.now()
    }
}

/// The store holds as many live sessions as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{capacity} sessions are live, and no more may be")]
pub struct CapacityReached {
    /// The bound.
    pub capacity: usize,
}

#[cfg(test)]
mod tests;
