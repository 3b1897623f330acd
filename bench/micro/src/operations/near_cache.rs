//! Operation that looks up a session in the near cache.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use anyhow::bail;
use tee_session_domain::{
    InvalidationListener, SessionRepository, SessionToken, StoreInstance, StoreKey,
};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};

use super::repeat::Repeat;
use crate::sample;

const HOUR: Duration = Duration::from_secs(3_600);

const INSTANCE: StoreInstance = StoreInstance(1);

/// Prepares an operation that looks up a session in the near cache. The session is always found.
/// Each call uses a token whose hash is not cached.
pub(super) fn hit() -> anyhow::Result<Repeat> {
    let cache = NearCache::new(&NearCacheSettings {
        max_stale: HOUR,
        ..NearCacheSettings::default()
    });
    cache.feed_confirmed(INSTANCE, Instant::now());
    let repository = NearCachedRepository::new(WithInvalidation::default(), Some(cache.clone()));
    let (token, session) = (sample::token()?, sample::session()?);
    let used = token.clone();
    let _ = poll_once(repository.insert(&used, &session, HOUR))??;
    if poll_once(repository.load(&used))??.is_none() || cache.is_empty() {
        bail!("the session is not in the near cache");
    }
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        drop(black_box(poll_once(repository.load(&token))));
    }))
}

/// Returns the output of a future that is ready at its first poll. Fails if the future is not
/// ready.
fn poll_once<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Ok(outcome),
        Poll::Pending => bail!("the future is not ready at its first poll"),
    }
}

/// In-memory session store that names a [`StoreInstance`] and the [`StoreKey`]s of each session.
/// The near cache needs these names to invalidate sessions. It caches no session of a store without
/// them.
#[derive(Default)]
struct WithInvalidation(MemoryRepository);

impl tee_session_domain::RepositoryLayer for WithInvalidation {
    type Inner = MemoryRepository;

    fn inner(&self) -> &MemoryRepository {
        &self.0
    }

    fn instance(&self) -> Option<StoreInstance> {
        Some(INSTANCE)
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        vec![StoreKey::new(token.expose_secret().as_bytes())]
    }
}
