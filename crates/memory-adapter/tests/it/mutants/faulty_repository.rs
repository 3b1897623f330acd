//! Repository with at most one fault: a decorator of the correct repository in memory.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tee_session_domain::{
    Cookies, InsertOutcome, MoveOutcome, RepositoryError, Revision, Session, SessionId,
    SessionRepository, SessionToken, SessionWithTtl, Subject, SwapOutcome, VersionedSession,
};
use tee_session_memory_adapter::MemoryRepository;
use time::OffsetDateTime;

use super::fault::Fault;
use crate::with_index::WithIndex;

/// Repository that decorates a correct repository. A test can make this repository unreachable or
/// hanging. With a [`Fault`], the repository breaks one rule of the contract.
#[derive(Clone)]
pub(crate) struct FaultyRepository(WithIndex<FaultyStore>);

impl Deref for FaultyRepository {
    type Target = FaultyStore;

    fn deref(&self) -> &FaultyStore {
        &self.0.index
    }
}

/// Store of [`FaultyRepository`], and its subject index.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    pub(super) correct: MemoryRepository,
    pub(super) fault: Option<Fault>,
    state: Arc<Mutex<State>>,
    started: OffsetDateTime,
}

/// Conditions that a test sets (state of the store, damaged records), and data of earlier calls,
/// which some faults use.
#[derive(Default)]
pub(super) struct State {
    pub(super) store: Store,
    damaged: HashSet<SessionId>,
    /// Sessions that were inserted and not removed, with their last TTL. Includes expired sessions.
    pub(super) inserted: HashMap<SessionId, (Session, Duration)>,
    removed: HashMap<SessionId, Session>,
    pub(super) last_revocations: HashMap<Subject, u64>,
}

/// State of the simulated store server.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Store {
    #[default]
    Serving,
    Lost,
    Hanging,
}

impl FaultyRepository {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let correct = MemoryRepository::default();
        let index = FaultyStore {
            started: correct.now(),
            correct: correct.clone(),
            fault,
            state: Arc::default(),
        };
        let inner = correct;
        Self(WithIndex { inner, index })
    }
}

impl FaultyStore {
    pub(crate) fn set_store(&self, store: Store) {
        self.state().store = store;
    }

    /// Marks the record as damaged: no call can read the record any longer.
    pub(crate) fn damage(&self, token: &SessionToken) {
        self.state().damaged.insert(SessionId::of(token));
    }

    pub(crate) fn advance_clock(&self, duration: Duration) {
        let clock = self.correct.clock();
        clock.set(clock.now() + duration);
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Returns an error if the simulated store is unreachable or hangs. A hanging store also leads
    /// to an error, because a correct adapter limits the time of its calls.
    pub(super) async fn reach_store(&self, key: &str) -> Result<(), RepositoryError> {
        let store = self.state().store;
        match store {
            Store::Serving => Ok(()),
            Store::Hanging if self.has(Fault::CallNeverReturns) => pending().await,
            Store::Hanging => Err(RepositoryError::unavailable("no reply in time")),
            Store::Lost if self.has(Fault::ErrorShowsToken) => Err(RepositoryError::unavailable(
                format!("connection lost: GET session:{key}"),
            )),
            Store::Lost => Err(RepositoryError::unavailable("connection lost")),
        }
    }

    /// Simulates access to the record of `token`. Returns an error if the store is unreachable or
    /// the record is damaged, and `true` otherwise. With a fault that reports such a record as
    /// missing, returns `false` instead of the error.
    async fn reach_record(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let reached = self.reach_store(token.expose_secret()).await;
        if reached.is_err() && self.has(Fault::OutageReportedAsMissing) {
            return Ok(false);
        }
        reached?;
        let id = SessionId::of(token);
        if !self.state().damaged.contains(&id) {
            return Ok(true);
        }
        if self.has(Fault::CorruptReportedAsMissing) {
            return Ok(false);
        }
        if self.has(Fault::CorruptRecordIsRemoved) {
            self.state().damaged.remove(&id);
            self.correct.remove(token).await?;
        }
        let reason = if self.has(Fault::ErrorShowsCookie) {
            let (session, _) = &self.state().inserted[&id];
            session
                .cookies
                .iter()
                .filter_map(|(_, value)| value)
                .collect()
        } else {
            "not a session".to_owned()
        };
        Err(RepositoryError::Corrupt {
            source: reason.into(),
        })
    }

    /// Moves the session from `inserted` to `removed` in [`State`]. Returns `false` if `inserted`
    /// does not contain the session.
    pub(super) fn note_removal(&self, id: SessionId) -> bool {
        let mut state = self.state();
        let Some((session, _)) = state.inserted.remove(&id) else {
            return false;
        };
        state.removed.insert(id, session);
        true
    }

    fn note_insertion(&self, token: &SessionToken, session: &Session, ttl: Duration) {
        let id = SessionId::of(token);
        self.state().inserted.insert(id, (session.clone(), ttl));
    }

    /// Returns the session as it is written to the store, which a fault may change.
    fn written(&self, session: &Session) -> Session {
        let mut written = session.clone();
        match self.fault {
            Some(Fault::TimesInWholeSeconds) => {
                written.created_at = session.created_at.replace_nanosecond(0).unwrap();
            }
            Some(Fault::CookiesInOtherOrder) => {
                let pairs = session.cookies.iter();
                let pairs = pairs.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
                let pairs: Vec<_> = pairs.collect();
                written.cookies = Cookies::new(pairs.into_iter().rev()).unwrap();
            }
            Some(Fault::CookieAttributesAreLost) => {
                written.cookies = Cookies::from_stored(session.cookies.iter()).unwrap();
            }
            Some(Fault::LabelIsLost) => written.attributes.label = None,
            _ => {}
        }
        written
    }

    /// Returns the revision of the session's current state, or `seen` if there is no session. A
    /// faulty adapter uses this revision instead of the caller's revision, so it overwrites
    /// concurrent changes.
    async fn current_revision(&self, token: &SessionToken, seen: &Revision) -> Revision {
        let loaded = self.correct.load_for_update(token, None).await.unwrap();
        loaded.map_or_else(|| seen.clone(), |loaded| loaded.revision)
    }
}

impl tee_session_domain::RepositoryLayer for FaultyRepository {
    type Inner = WithIndex<FaultyStore>;

    fn inner(&self) -> &Self::Inner {
        &self.0
    }

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.reach_store(token.expose_secret()).await?;
        if self.has(Fault::InsertOverwrites) {
            self.correct.remove(token).await?;
        }
        let outcome = self
            .correct
            .insert(token, &self.written(session), ttl)
            .await?;
        if outcome == InsertOutcome::Inserted {
            self.note_insertion(token, session, ttl);
        }
        Ok(outcome)
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        if !self.reach_record(token).await? {
            return Ok(None);
        }
        if self.has(Fault::TouchRestoresDeletedSession) {
            let removed = self.state().removed.remove(&SessionId::of(token));
            if let Some(session) = removed {
                let _ = self.correct.insert(token, &session, ttl).await?;
            }
        }
        let loaded = self.correct.load_and_touch(token, ttl).await?;
        if let (Some(session), true) = (&loaded, self.has(Fault::TouchChangesRevision)) {
            let current = self.correct.load_for_update(token, None).await?.unwrap();
            let swap = self
                .correct
                .compare_and_swap(token, &current.revision, session, ttl);
            let _ = swap.await?;
        }
        Ok(loaded)
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        if !self.reach_record(token).await? {
            return Ok(None);
        }
        let inserted = self.state().inserted.get(&SessionId::of(token)).cloned();
        match inserted {
            Some((_, ttl)) if self.has(Fault::LoadRenewsTtl) => {
                self.correct.load_and_touch(token, ttl).await
            }
            _ => self.correct.load(token).await,
        }
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        if !self.reach_record(token).await? {
            return Ok(None);
        }
        self.correct.load_with_ttl(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.reach_store(token.expose_secret()).await?;
        let was_live = self.correct.remove(token).await?;
        let was_inserted = self.note_removal(SessionId::of(token));
        Ok(was_live || was_inserted && self.has(Fault::RemoveReportsExpiredSession))
    }

    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        if !self.reach_record(token).await? {
            return Ok(None);
        }
        let touch = match self.fault {
            Some(Fault::LoadForUpdateRenewsNoTtl) => None,
            Some(Fault::LoadForUpdateAlwaysRenewsTtl) => {
                let inserted = self.state().inserted.get(&SessionId::of(token)).cloned();
                touch.or(inserted.map(|(_, ttl)| ttl))
            }
            _ => touch,
        };
        let loaded = self.correct.load_for_update(token, touch).await?;
        match (loaded, touch) {
            (Some(loaded), Some(ttl)) if self.has(Fault::LoadForUpdateChangesRevision) => {
                let VersionedSession { session, revision } = &loaded;
                let swap = self.correct.compare_and_swap(token, revision, session, ttl);
                let _ = swap.await?;
                self.correct.load_for_update(token, None).await
            }
            (loaded, _) => Ok(loaded),
        }
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        self.reach_store(token.expose_secret()).await?;
        let (mut seen, mut ttl) = (seen.clone(), ttl);
        if self.has(Fault::SwapIgnoresRevision) {
            seen = self.current_revision(token, &seen).await;
        }
        if self.has(Fault::SwapKeepsOldTtl) {
            let loaded = self.correct.load_with_ttl(token).await?;
            ttl = loaded.and_then(|loaded| loaded.remaining).unwrap_or(ttl);
        }
        self.correct
            .compare_and_swap(token, &seen, &self.written(session), ttl)
            .await
    }

    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        self.reach_store(from.expose_secret()).await?;
        let seen = if self.has(Fault::MoveIgnoresRevision) {
            self.current_revision(from, seen).await
        } else {
            seen.clone()
        };
        let outcome = self
            .correct
            .move_to_new_token(from, &seen, to, session, ttl)
            .await?;
        let id = SessionId::of(from);
        match outcome {
            MoveOutcome::Moved => {
                self.note_insertion(to, session, ttl);
                if self.has(Fault::MoveKeepsOldRecord) {
                    let _ = self.correct.insert(from, session, ttl).await?;
                } else {
                    self.note_removal(id);
                }
            }
            MoveOutcome::Gone if self.has(Fault::MoveIgnoresExpiry) && self.note_removal(id) => {
                let _ = self.correct.insert(to, session, ttl).await?;
                return Ok(MoveOutcome::Moved);
            }
            _ => {}
        }
        Ok(outcome)
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

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.reach_store("").await?;
        self.correct.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        let now = self.correct.now();
        match self.fault {
            Some(Fault::ClockIsOneHourAhead) => now + Duration::from_secs(3_600),
            Some(Fault::ClockRunsTwiceAsFast) => now + (now - self.started),
            _ => now,
        }
    }
}
