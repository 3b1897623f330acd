//! Example of an adapter without subjects: it keeps each session as bytes in a map. Copy this file,
//! which has fewer than 100 lines of code, as the `src/lib.rs` of your own adapter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{collections::HashMap, time::Duration};

use tee_session_domain::{
    InsertOutcome, MoveOutcome, NoIdempotency, NoSubjects, RepositoryError, Revision, Session,
    SessionId, SessionRepository, SessionToken as Token, SessionWithTtl, StoreClock, SwapOutcome,
    VersionedSession, time::OffsetDateTime,
};

type Reply<T> = Result<T, RepositoryError>;

type Touch = Option<Duration>;

/// Binary form of a session, and the time at which the record expires.
type Record = (Vec<u8>, OffsetDateTime);

type Records = HashMap<SessionId, Record>;

/// Repository that stores sessions in a map. All clones use the same map and the same clock. The
/// fields are public for the harness of the contract suite.
///
/// An adapter for a database has a connection instead of the map. It also corrects its clock with
/// the times that the database reports, and implements `ping`.
#[derive(Clone, Default)]
pub struct MapRepository(pub Arc<Mutex<Records>>, pub Arc<StoreClock>);

impl MapRepository {
    fn live(&self) -> MutexGuard<'_, Records> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.retain(|_, (_, end)| *end > self.now());
        records
    }

    fn read<T>(&self, of: &Token, get: impl Fn(Session, &mut Record) -> T) -> Reply<Option<T>> {
        let read = |record: &mut Record| Ok(get(Session::from_bytes(&record.0)?, record));
        let mut live = self.live();
        live.get_mut(&SessionId::of(of)).map(read).transpose()
    }
}

impl SessionRepository for MapRepository {
    type Subjects = NoSubjects;
    type Idempotency = NoIdempotency;

    async fn insert(&self, to: &Token, new: &Session, ttl: Duration) -> Reply<InsertOutcome> {
        let (to, mut records) = (SessionId::of(to), self.live());
        if records.contains_key(&to) {
            return Ok(InsertOutcome::TokenTaken);
        }
        records.insert(to, (new.to_bytes().to_vec(), self.now() + ttl));
        Ok(InsertOutcome::Inserted)
    }

    async fn load_and_touch(&self, of: &Token, ttl: Duration) -> Reply<Option<Session>> {
        let loaded = self.load_for_update(of, Some(ttl)).await?;
        Ok(loaded.map(|loaded| loaded.session))
    }

    async fn load_with_ttl(&self, of: &Token) -> Reply<Option<SessionWithTtl>> {
        self.read(of, |session, (_, end)| SessionWithTtl {
            session,
            remaining: Some((*end - self.now()).unsigned_abs()),
        })
    }

    async fn remove(&self, of: &Token) -> Reply<bool> {
        Ok(self.live().remove(&SessionId::of(of)).is_some())
    }

    // The bytes of a record serve as its revision, because the bytes differ whenever the content
    // differs.
    async fn load_for_update(&self, of: &Token, touch: Touch) -> Reply<Option<VersionedSession>> {
        self.read(of, |session, (bytes, end)| {
            *end = touch.map_or(*end, |ttl| self.now() + ttl);
            let revision = Revision::new(bytes.clone());
            VersionedSession { session, revision }
        })
    }

    async fn compare_and_swap(
        &self,
        of: &Token,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Reply<SwapOutcome> {
        match self.live().get_mut(&SessionId::of(of)) {
            None => return Ok(SwapOutcome::Gone),
            Some((bytes, _)) if *bytes != seen.expose_secret() => return Ok(SwapOutcome::Changed),
            Some(old) => *old = (session.to_bytes().to_vec(), self.now() + ttl),
        }
        Ok(SwapOutcome::Swapped)
    }

    async fn move_to_new_token(
        &self,
        from: &Token,
        seen: &Revision,
        to: &Token,
        session: &Session,
        ttl: Duration,
    ) -> Reply<MoveOutcome> {
        let (from, to, mut records) = (SessionId::of(from), SessionId::of(to), self.live());
        match records.get(&from) {
            _ if records.contains_key(&to) => return Ok(MoveOutcome::TokenTaken),
            None => return Ok(MoveOutcome::Gone),
            Some((bytes, _)) if *bytes != seen.expose_secret() => return Ok(MoveOutcome::Changed),
            Some(_) => records.remove(&from),
        };
        records.insert(to, (session.to_bytes().to_vec(), self.now() + ttl));
        Ok(MoveOutcome::Moved)
    }

    fn subjects(&self) -> &NoSubjects {
        &NoSubjects
    }

    fn idempotency(&self) -> &NoIdempotency {
        &NoIdempotency
    }

    fn now(&self) -> OffsetDateTime {
        self.1.now()
    }
}
