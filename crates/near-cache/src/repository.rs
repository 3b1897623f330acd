//! The decorator.

use std::{sync::Arc, time::Duration};

use tee_session_domain::{
    InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError, RevisedSession, Revision,
    Session, SessionId, SessionRepository, SessionToken, StoreInstance, StoreKey, SwapOutcome,
    TokenHash,
};
use time::OffsetDateTime;

use crate::{NearCache, cache::Reading, flights::Boarding};

/// Who joined readings that came to nothing so often reads for itself.
const MAX_BOARDINGS: usize = 3;

/// A repository whose sessions are kept near, if it has a cache; without one every call goes to the
/// repository within.
///
/// Only [`fetch`](SessionRepository::fetch) is answered from the cache, which is what a
/// [`SessionManager`](tee_session_domain::SessionManager) asks with a touch interval. What slides is
/// read from the store, and its copy with it becomes bad: the store tells of the slide as of any
/// other change.
pub struct NearCachedRepository<R> {
    inner: R,
    cache: Option<Arc<NearCache>>,
}

impl<R: SessionRepository> NearCachedRepository<R> {
    /// Puts `cache` before `inner`. All repositories of one store in one process share a cache.
    pub fn new(inner: R, cache: Option<Arc<NearCache>>) -> Self {
        Self { inner, cache }
    }

    /// Reads what is not near, once for all who ask at the same time.
    async fn read(
        &self,
        cache: &NearCache,
        name: TokenHash,
        token: &SessionToken,
        ttl: Option<Duration>,
    ) -> Result<Option<Session>, RepositoryError> {
        let instance = self.inner.instance();
        let keys = instance.map(|_| self.inner.store_keys(token));
        let keys = keys.unwrap_or_default();
        for _ in 0..MAX_BOARDINGS {
            let Some(reading) = cache.look(name, instance, &keys, ttl) else {
                break;
            };
            match cache.board(&reading) {
                Boarding::Lead(leader) => {
                    let session = match ttl {
                        Some(_) => self.ask(token, ttl).await?,
                        None => self.ask_and_keep(cache, &reading, token).await?,
                    };
                    leader.land(session.clone());
                    return Ok(session);
                }
                Boarding::Join(passenger) => {
                    if let Some(landed) = passenger.landed().await {
                        return Ok(landed);
                    }
                }
            }
        }
        self.ask(token, ttl).await
    }

    /// The store has said that there is no such session: nor is there a copy, whatever the channel
    /// may have to tell yet.
    fn forget(&self, token: &SessionToken) {
        if let Some(cache) = &self.cache {
            cache.forget(TokenHash::of(token), &self.inner.store_keys(token));
        }
    }

    async fn ask(
        &self,
        token: &SessionToken,
        ttl: Option<Duration>,
    ) -> Result<Option<Session>, RepositoryError> {
        match ttl {
            Some(ttl) => self.inner.fetch_and_slide(token, ttl).await,
            None => self.inner.fetch(token).await,
        }
    }

    async fn ask_and_keep(
        &self,
        cache: &NearCache,
        reading: &Reading,
        token: &SessionToken,
    ) -> Result<Option<Session>, RepositoryError> {
        let peeked = self.inner.peek(token).await?;
        if let Some(peeked) = &peeked {
            cache.keep(reading, self.inner.instance(), peeked, SessionId::of(token));
        }
        Ok(peeked.map(|peeked| peeked.session))
    }

    /// Makes a change, and lets go of the copy however the change ends: it may have been made
    /// although nobody heard so.
    async fn change<T>(
        &self,
        token: &SessionToken,
        change: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<T, RepositoryError> {
        let _forget = self.cache.as_deref().map(|cache| Forget {
            cache,
            name: TokenHash::of(token),
            keys: self.inner.store_keys(token),
        });
        change.await
    }
}

/// Lets go of a copy when it is dropped.
struct Forget<'a> {
    cache: &'a NearCache,
    name: TokenHash,
    keys: Vec<StoreKey>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.cache.forget(self.name, &self.keys);
    }
}

impl<R: SessionRepository> SessionRepository for NearCachedRepository<R> {
    type Subjects = R::Subjects;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        Box::pin(self.change(token, self.inner.insert(token, session, ttl))).await
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let Some(cache) = &self.cache else {
            return self.inner.fetch_and_slide(token, ttl).await;
        };
        let name = TokenHash::of(token);
        let found = Box::pin(self.read(cache, name, token, Some(ttl))).await?;
        if found.is_none() {
            self.forget(token);
        }
        Ok(found)
    }

    async fn fetch(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        let Some(cache) = &self.cache else {
            return self.inner.fetch(token).await;
        };
        let name = TokenHash::of(token);
        let instance = self.inner.instance();
        match instance.and_then(|instance| cache.copy(name, token, instance)) {
            Some(session) => Ok(Some(session)),
            None => Box::pin(self.read(cache, name, token, None)).await,
        }
    }

    /// Asks the store.
    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        let peeked = self.inner.peek(token).await?;
        if peeked.is_none() {
            self.forget(token);
        }
        Ok(peeked)
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        Box::pin(self.change(token, self.inner.remove(token))).await
    }

    /// Asks the store.
    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        let found = self.inner.fetch_revision(token).await?;
        if found.is_none() {
            self.forget(token);
        }
        Ok(found)
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        let swap = self.inner.compare_and_swap(token, seen, session, ttl);
        Box::pin(self.change(token, swap)).await
    }

    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
        let relocate = self.inner.relocate(from, seen, to, session, ttl);
        Box::pin(self.change(from, self.change(to, relocate))).await
    }

    /// The store's own: of sessions that are revoked by their subject or their id, it tells as of any
    /// other change.
    fn subjects(&self) -> &R::Subjects {
        self.inner.subjects()
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.inner.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        self.inner.now()
    }

    fn is_in_parts(&self) -> bool {
        self.inner.is_in_parts()
    }

    fn instance(&self) -> Option<StoreInstance> {
        self.inner.instance()
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        self.inner.store_keys(token)
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
