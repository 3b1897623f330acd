//! A session that is near.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use anyhow::bail;
use tee_session_domain::{
    ChangeListener, InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError, RevisedSession,
    Revision, Session, SessionRepository, SessionToken, StoreInstance, StoreKey, SwapOutcome,
};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};
use time::OffsetDateTime;

use super::{Repeat, token};
use crate::sample;

const HOUR: Duration = Duration::from_secs(3_600);

const INSTANCE: StoreInstance = StoreInstance(1);

/// Looks it up by a token that was not hashed yet.
pub(super) fn hit() -> anyhow::Result<Repeat> {
    let cache = NearCache::new(&NearCacheSettings {
        max_stale: HOUR,
        ..NearCacheSettings::default()
    });
    cache.told(INSTANCE, Instant::now());
    let repository = NearCachedRepository::new(Telling::default(), Some(cache.clone()));
    let (token, session) = (token()?, sample::session()?);
    let used = token.clone();
    let _ = at_once(repository.insert(&used, &session, HOUR))??;
    if at_once(repository.fetch(&used))??.is_none() || cache.is_empty() {
        bail!("the session is not near");
    }
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        drop(black_box(at_once(repository.fetch(&token))));
    }))
}

/// The outcome of what waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Ok(outcome),
        Poll::Pending => bail!("it waits"),
    }
}

/// The embedded store, as if it told of changes.
#[derive(Default)]
struct Telling(MemoryRepository);

impl SessionRepository for Telling {
    type Subjects = MemoryRepository;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.0.insert(token, session, ttl).await
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        self.0.fetch_and_slide(token, ttl).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        self.0.peek(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.0.remove(token).await
    }

    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        self.0.fetch_revision(token).await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        self.0.compare_and_swap(token, seen, session, ttl).await
    }

    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
        self.0.relocate(from, seen, to, session, ttl).await
    }

    fn subjects(&self) -> &Self::Subjects {
        self.0.subjects()
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.0.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        self.0.now()
    }

    fn instance(&self) -> Option<StoreInstance> {
        Some(INSTANCE)
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        vec![StoreKey::new(token.expose_secret().as_bytes())]
    }
}
