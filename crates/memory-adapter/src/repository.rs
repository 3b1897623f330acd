//! The repository: shards, a bound, and a clock.

mod subjects;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{
    InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError, RevisedSession, Revision,
    Session, SessionId, SessionRepository, SessionToken, StoreClock, SwapOutcome,
};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    shard::{Removed, Shard, Swept},
    subject_entries::SubjectEntries,
};

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
    /// May be locked while a shard is, and not the other way round.
    subjects: Mutex<SubjectEntries>,
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
            subjects: Mutex::default(),
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
    /// The shard of the session, with what is due at its front swept.
    fn shard(&self, id: SessionId, now: OffsetDateTime) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(id) as usize % self.shards.len();
        let mut shard = lock(&self.shards[index]);
        self.forget_all(shard.sweep(now, SWEEP_PER_CALL));
        shard
    }

    fn remove(&self, id: SessionId) -> bool {
        let now = self.clock.now();
        let removed = self.shard(id, now).remove(id, now);
        let is_live = matches!(removed, Removed::Live(_));
        if let Removed::Live(subject) | Removed::Ended(subject) = removed {
            self.forget(1);
            if let Some(subject) = subject {
                lock(&self.subjects).remove(&subject, id);
            }
        }
        is_live
    }

    /// Puts in a session that takes no place of its own.
    fn insert_uncounted(
        &self,
        id: SessionId,
        session: &Session,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
    ) -> InsertOutcome {
        self.shard(id, now).insert(id, session, deadline)
    }

    /// Removes the old session, if it is as it was seen, and so gives its place to the new one; else
    /// the new one goes.
    fn give_place(
        &self,
        old: SessionId,
        seen: Option<u64>,
        new: SessionId,
        now: OffsetDateTime,
    ) -> RelocateOutcome {
        let outcome = match self.shard(old, now).compare_and_remove(old, seen, now) {
            SwapOutcome::Swapped => return RelocateOutcome::Relocated,
            SwapOutcome::Changed => RelocateOutcome::Changed,
            SwapOutcome::Gone => RelocateOutcome::Gone,
        };
        if self.shard(new, now).remove(new, now) == Removed::Nothing {
            // Whoever revoked it meanwhile gave back a place for it, which it had not.
            self.sessions.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Removes every session that has ended.
    fn sweep(&self, now: OffsetDateTime) {
        for shard in &self.shards {
            self.forget_all(lock(shard).sweep(now, usize::MAX));
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

    fn forget_all(&self, swept: Swept) {
        self.forget(swept.sessions);
        if !swept.of_subjects.is_empty() {
            let mut subjects = lock(&self.subjects);
            for (subject, id) in swept.of_subjects {
                subjects.remove(&subject, id);
            }
        }
    }
}

/// No call panics between two changes that belong together, so what a panic left is sound.
fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn revision(number: u64) -> Revision {
    Revision::new(number.to_be_bytes().into())
}

/// `None`: it is no revision of ours, and names no state.
fn number(revision: &Revision) -> Option<u64> {
    let bytes = revision.expose_secret().try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

impl SessionRepository for MemoryRepository {
    type Subjects = Self;

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
        let id = SessionId::of(token);
        let outcome = store.shard(id, now).insert(id, session, now + ttl);
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
        let (id, now) = (SessionId::of(token), self.0.clock.now());
        Ok(self.0.shard(id, now).slide(id, now, now + ttl))
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        let (id, now) = (SessionId::of(token), self.0.clock.now());
        let peeked = self.0.shard(id, now).peek(id, now);
        Ok(peeked.map(|(session, remaining)| PeekedSession {
            session,
            remaining: Some(remaining),
        }))
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        Ok(self.0.remove(SessionId::of(token)))
    }

    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        let (id, now) = (SessionId::of(token), self.0.clock.now());
        let found = self.0.shard(id, now).revision(id, now);
        Ok(found.map(|(session, number)| RevisedSession {
            session,
            revision: revision(number),
        }))
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        let (id, now) = (SessionId::of(token), self.0.clock.now());
        let mut shard = self.0.shard(id, now);
        Ok(shard.compare_and_swap(id, number(seen), session, now, now + ttl))
    }

    /// The two stand in different shards: the new one is put in, and taken out again if the old one
    /// is not as it was seen. It takes the old one's place in the bound.
    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
        let (old, new, now) = (SessionId::of(from), SessionId::of(to), self.0.clock.now());
        match self.0.insert_uncounted(new, session, now, now + ttl) {
            InsertOutcome::Inserted => Ok(self.0.give_place(old, number(seen), new, now)),
            InsertOutcome::TokenTaken | InsertOutcome::OutOfReach => {
                Ok(RelocateOutcome::TokenTaken)
            }
        }
    }

    fn subjects(&self) -> &Self {
        self
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
