//! A session repository that puts a near cache (copies of sessions in this process) in front of
//! another repository.

use std::{sync::Arc, time::Duration};

use tee_session_domain::{
    InsertOutcome, MoveOutcome, RepositoryError, RepositoryLayer, Revision, Session, SessionId,
    SessionRepository, SessionToken, SessionWithTtl, StoreKey, SwapOutcome, TokenHash,
    VersionedSession,
};

use crate::{NearCache, cache::PreparedRead, single_flight::Role};

/// A session repository that serves sessions from a near cache (copies of sessions in this
/// process). Without a near cache, every call goes to the inner repository.
///
/// Only [`load`](SessionRepository::load) returns cached copies. A
/// [`SessionManager`](tee_session_domain::SessionManager) calls `load` if its policy has a touch
/// interval and the session was touched (its TTL renewed) recently. A touch always goes to the
/// store. A touch also invalidates all cached copies of the session, because the store reports a
/// touch like any other change.
///
/// Revocations by subject or by session id do not pass through the near cache. The store reports
/// them to the cache as invalidations, like any other change.
pub struct NearCachedRepository<R> {
    inner: R,
    cache: Option<Arc<NearCache>>,
}

impl<R: SessionRepository> NearCachedRepository<R> {
    /// Puts `cache` in front of the repository `inner`. In one process, all repositories of the
    /// same store must share one cache.
    pub fn new(inner: R, cache: Option<Arc<NearCache>>) -> Self {
        Self { inner, cache }
    }

    /// Reads a session that is not cached. Concurrent calls for the same session share one read of
    /// the store (single-flight). With `ttl`, the read also touches the session (sets its TTL).
    ///
    /// If the shared read fails or is cancelled, each call that waited for it reads the session
    /// itself. A call therefore waits for at most two reads, however often the store fails.
    async fn read_shared(
        &self,
        cache: &NearCache,
        hash: TokenHash,
        token: &SessionToken,
        ttl: Option<Duration>,
    ) -> Result<Option<Session>, RepositoryError> {
        let instance = self.inner.instance();
        let keys = instance.map(|_| self.inner.store_keys(token));
        let keys = keys.unwrap_or_default();
        let Some(prepared) = cache.prepare_read(hash, instance, &keys, ttl) else {
            return self.read_from_store(token, ttl).await;
        };
        match cache.join_or_lead(&prepared) {
            Role::Leader(leader) => {
                let session = match ttl {
                    Some(_) => self.read_from_store(token, ttl).await?,
                    None => self.read_and_cache(cache, &prepared, token).await?,
                };
                leader.complete(session.clone());
                Ok(session)
            }
            Role::Follower(follower) => match follower.result().await {
                Some(session) => Ok(session),
                None => self.read_from_store(token, ttl).await,
            },
        }
    }

    /// Removes the cached copy of a session after the store reported the session as missing. The
    /// invalidation of the session may not have arrived yet.
    fn forget(&self, token: &SessionToken) {
        if let Some(cache) = &self.cache {
            cache.forget(TokenHash::of(token), &self.inner.store_keys(token));
        }
    }

    async fn read_from_store(
        &self,
        token: &SessionToken,
        ttl: Option<Duration>,
    ) -> Result<Option<Session>, RepositoryError> {
        match ttl {
            Some(ttl) => self.inner.load_and_touch(token, ttl).await,
            None => self.inner.load(token).await,
        }
    }

    async fn read_and_cache(
        &self,
        cache: &NearCache,
        prepared: &PreparedRead,
        token: &SessionToken,
    ) -> Result<Option<Session>, RepositoryError> {
        let found = self.inner.load_with_ttl(token).await?;
        if let Some(found) = &found {
            cache.insert(prepared, self.inner.instance(), found, SessionId::of(token));
        }
        Ok(found.map(|found| found.session))
    }

    /// Runs `change`, and then removes the cached copy of the session.
    ///
    /// The copy is also removed if `change` fails or is cancelled, because the store may have
    /// applied the change without a reply.
    async fn change<T>(
        &self,
        token: &SessionToken,
        change: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<T, RepositoryError> {
        let _forget = self.cache.as_deref().map(|cache| Forget {
            cache,
            hash: TokenHash::of(token),
            keys: self.inner.store_keys(token),
        });
        change.await
    }
}

/// A guard that removes the cached copy of a session when the guard is dropped.
struct Forget<'a> {
    cache: &'a NearCache,
    hash: TokenHash,
    keys: Vec<StoreKey>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.cache.forget(self.hash, &self.keys);
    }
}

impl<R: SessionRepository> RepositoryLayer for NearCachedRepository<R> {
    type Inner = R;

    fn inner(&self) -> &R {
        &self.inner
    }

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        Box::pin(self.change(token, self.inner.insert(token, session, ttl))).await
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let Some(cache) = &self.cache else {
            return self.inner.load_and_touch(token, ttl).await;
        };
        let hash = TokenHash::of(token);
        let found = Box::pin(self.read_shared(cache, hash, token, Some(ttl))).await?;
        if found.is_none() {
            self.forget(token);
        }
        Ok(found)
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        let Some(cache) = &self.cache else {
            return self.inner.load(token).await;
        };
        let hash = TokenHash::of(token);
        let instance = self.inner.instance();
        match instance.and_then(|instance| cache.get(hash, token, instance)) {
            Some(session) => Ok(Some(session)),
            None => Box::pin(self.read_shared(cache, hash, token, None)).await,
        }
    }

    /// Reads the session and its TTL from the store, never from the cache.
    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        let found = self.inner.load_with_ttl(token).await?;
        if found.is_none() {
            self.forget(token);
        }
        Ok(found)
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        Box::pin(self.change(token, self.inner.remove(token))).await
    }

    /// Reads the session and its revision from the store, never from the cache.
    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        let found = self.inner.load_for_update(token, touch).await?;
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

    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        let move_to_new_token = self.inner.move_to_new_token(from, seen, to, session, ttl);
        Box::pin(self.change(from, self.change(to, move_to_new_token))).await
    }

    async fn move_repeatably(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        let move_repeatably = self.inner.move_repeatably(from, seen, to, session, ttl);
        Box::pin(self.change(from, self.change(to, move_repeatably))).await
    }

    async fn was_moved(
        &self,
        from: &SessionToken,
        to: &SessionToken,
    ) -> Result<bool, RepositoryError> {
        Box::pin(self.change(to, self.inner.was_moved(from, to))).await
    }
}
