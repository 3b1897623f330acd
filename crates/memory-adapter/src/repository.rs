//! In-memory session repository: sharded sessions, a capacity limit and a clock.

mod idempotency;
mod subjects;

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{
    InsertOutcome, MoveOutcome, RepositoryError, Revision, Session, SessionId, SessionRepository,
    SessionToken, SessionWithTtl, StoreClock, SwapOutcome, VersionedSession,
};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    idempotency_records::IdempotencyRecords,
    revision::{parse_revision, revision},
    shard::{Removed, Shard, Swept},
    subject_entries::SubjectEntries,
    wall_clock::WallClock,
};

/// Number of shards, each with its own lock. The number is well above the usual number of threads,
/// so that threads rarely wait for the same lock.
const SHARDS: usize = 64;

/// Maximum number of due entries of the expiry queue that one call processes. A call adds at most
/// one session but can remove two, so the memory of ended sessions is freed faster than new memory
/// is used.
const SWEEP_PER_CALL: usize = 2;

/// Session repository in the memory of this process. All clones use the same store.
///
/// ```
/// use tee_session_memory_adapter::MemoryRepository;
///
/// let repository = MemoryRepository::with_capacity(1_000);
/// assert_eq!(repository.session_count(), 0);
/// ```
#[derive(Debug, Clone)]
pub struct MemoryRepository(Arc<Store>);

#[derive(Debug)]
struct Store {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Clock that decides expiry. All times in the store are times of this clock.
    clock: StoreClock,
    /// Detects corrections of the machine's wall clock. Their sum is added to every timestamp that
    /// the repository returns, and subtracted from every timestamp that a caller passes.
    wall_clock: WallClock,
    capacity: usize,
    sessions: AtomicUsize,
    /// Subject index entries of all sessions. Lock order: this mutex may be locked while a shard is
    /// locked. A shard must not be locked while this mutex is locked.
    subjects: Mutex<SubjectEntries>,
    /// Idempotency records. At most `capacity` records are stored, in addition to the sessions.
    idempotency: Mutex<IdempotencyRecords>,
}

impl MemoryRepository {
    /// Default for the maximum number of live sessions.
    pub const DEFAULT_CAPACITY: usize = 100_000;

    /// Creates an empty repository for at most `capacity` live sessions.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_clock(capacity, StoreClock::from_system())
    }

    fn with_clock(capacity: usize, clock: StoreClock) -> Self {
        Self(Arc::new(Store {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            clock,
            wall_clock: WallClock::new(),
            capacity,
            sessions: AtomicUsize::new(0),
            subjects: Mutex::default(),
            idempotency: Mutex::default(),
        }))
    }

    /// Returns the number of stored sessions. Ended sessions count until a later call removes them.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// Returns the clock with which the repository decides expiry. Tests can set the clock to
    /// simulate the passage of time.
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
    /// Locks the shard that contains the session, and removes a few ended sessions of the shard.
    fn shard(&self, id: SessionId, now: OffsetDateTime) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(id) as usize % self.shards.len();
        let mut shard = lock(&self.shards[index]);
        self.release_swept(shard.sweep(now, SWEEP_PER_CALL));
        shard
    }

    fn remove(&self, id: SessionId) -> bool {
        let now = self.clock.now();
        let removed = self.shard(id, now).remove(id, now);
        let is_live = matches!(removed, Removed::Live(_));
        if let Removed::Live(subject) | Removed::Ended(subject) = removed {
            self.release(1);
            if let Some(subject) = subject {
                lock(&self.subjects).remove(&subject, id);
            }
        }
        is_live
    }

    /// Stores the session without counting it against the capacity.
    fn insert_uncounted(
        &self,
        id: SessionId,
        session: &Session,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
    ) -> InsertOutcome {
        self.shard(id, now).insert(id, session, deadline)
    }

    /// Completes a token rotation from the session id `old` to `new`. The record of `new` is
    /// already stored, but not counted. If the revision of `old` is still `seen`, removes `old`,
    /// and `new` takes over its place in the capacity. If `old` has changed or no longer exists,
    /// removes `new`.
    fn complete_move(
        &self,
        old: SessionId,
        seen: Option<u64>,
        new: SessionId,
        now: OffsetDateTime,
    ) -> MoveOutcome {
        let outcome = match self.shard(old, now).compare_and_remove(old, seen, now) {
            SwapOutcome::Swapped => return MoveOutcome::Moved,
            SwapOutcome::Changed => MoveOutcome::Changed,
            SwapOutcome::Gone => MoveOutcome::Gone,
        };
        if self.shard(new, now).remove(new, now) == Removed::Nothing {
            // A concurrent revocation has removed the new session and decremented the number of
            // sessions, although the new session was not counted.
            self.sessions.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Converts the times of a session that a caller passes to times of the store, which do not
    /// include corrections of the wall clock.
    // If the wall clock is corrected between the creation of `session` and this call, the creation
    // time is wrong by this correction. The idle timeout is not affected.
    fn stored<'a>(&self, session: &'a Session) -> Cow<'a, Session> {
        let correction = self.wall_clock.correction();
        if correction.is_zero() {
            Cow::Borrowed(session)
        } else {
            Cow::Owned(shifted(session.clone(), -correction))
        }
    }

    /// Converts the times of a stored session to times for the caller, which include corrections of
    /// the wall clock.
    fn shown(&self, session: Session) -> Session {
        shifted(session, self.wall_clock.correction())
    }

    /// Removes every ended session from all shards.
    fn sweep(&self, now: OffsetDateTime) {
        for shard in &self.shards {
            self.release_swept(lock(shard).sweep(now, usize::MAX));
        }
    }

    /// Reserves capacity for one session. Returns `false` if the repository is full.
    fn reserve(&self) -> bool {
        self.sessions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sessions| {
                (sessions < self.capacity).then_some(sessions + 1)
            })
            .is_ok()
    }

    fn release(&self, sessions: usize) {
        self.sessions.fetch_sub(sessions, Ordering::Relaxed);
    }

    fn release_swept(&self, swept: Swept) {
        self.release(swept.sessions);
        if !swept.index_entries.is_empty() {
            let mut subjects = lock(&self.subjects);
            for (subject, id) in swept.index_entries {
                subjects.remove(&subject, id);
            }
        }
    }
}

/// Moves the times of the session by `step`.
fn shifted(session: Session, step: time::Duration) -> Session {
    Session {
        created_at: session.created_at.saturating_add(step),
        absolute_end: session.absolute_end.map(|end| end.saturating_add(step)),
        cookies: session.cookies.with_expiries_moved(step),
        ..session
    }
}

/// Locks a mutex even if it is poisoned. The data is consistent in any case, because no call can
/// panic between two changes that belong together.
fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionRepository for MemoryRepository {
    type Subjects = Self;
    type Idempotency = Self;

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
        let session = store.stored(session);
        let outcome = store.shard(id, now).insert(id, &session, now + ttl);
        if outcome == InsertOutcome::TokenTaken {
            store.release(1);
        }
        Ok(outcome)
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let (id, now) = (SessionId::of(token), self.0.clock.now());
        let loaded = self.0.shard(id, now).load_and_touch(id, now, now + ttl);
        Ok(loaded.map(|session| self.0.shown(session)))
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        let (id, now) = (SessionId::of(token), self.0.clock.now());
        let loaded = self.0.shard(id, now).load_with_ttl(id, now);
        Ok(loaded.map(|(session, remaining)| SessionWithTtl {
            session: self.0.shown(session),
            remaining: Some(remaining),
        }))
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        Ok(self.0.remove(SessionId::of(token)))
    }

    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        let (id, now) = (SessionId::of(token), self.0.clock.now());
        let deadline = touch.map(|ttl| now + ttl);
        let found = self.0.shard(id, now).load_for_update(id, now, deadline);
        Ok(found.map(|(session, number)| VersionedSession {
            session: self.0.shown(session),
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
        let session = self.0.stored(session);
        Ok(shard.compare_and_swap(id, parse_revision(seen), &session, now, now + ttl))
    }

    /// Moves a session from the shard of its old token to the shard of its new token. The new
    /// record is stored first, without counting it against the capacity. If the old record has
    /// changed since it was read, the new record is removed.
    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        let (old, new, now) = (SessionId::of(from), SessionId::of(to), self.0.clock.now());
        let session = self.0.stored(session);
        match self.0.insert_uncounted(new, &session, now, now + ttl) {
            InsertOutcome::Inserted => {
                Ok(self.0.complete_move(old, parse_revision(seen), new, now))
            }
            InsertOutcome::TokenTaken | InsertOutcome::PartitionUnavailable => {
                Ok(MoveOutcome::TokenTaken)
            }
        }
    }

    fn subjects(&self) -> &Self {
        self
    }

    fn idempotency(&self) -> &Self {
        self
    }

    /// Always succeeds. The call also notices corrections of the wall clock, and removes ended
    /// sessions and expired idempotency records. A service with regular health checks therefore
    /// frees their memory even if there are no other requests.
    async fn ping(&self) -> Result<(), RepositoryError> {
        self.0.wall_clock.check();
        let now = self.0.clock.now();
        self.0.sweep(now);
        lock(&self.0.idempotency).remove_expired(now);
        Ok(())
    }

    fn now(&self) -> OffsetDateTime {
        let correction = self.0.wall_clock.correction();
        self.0.clock.now().saturating_add(correction)
    }
}

/// Error for a new session or a new idempotency record if the repository already contains its
/// maximum number of live sessions or of idempotency records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the store is at its capacity of {capacity} live sessions or idempotency records")]
pub struct CapacityReached {
    /// Maximum number of live sessions in the repository, and of idempotency records in addition.
    pub capacity: usize,
}

#[cfg(test)]
mod tests;
