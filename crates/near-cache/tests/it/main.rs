//! The near cache before a real Redis.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod bounds;
mod channel;
mod contract;
mod foreign_changes;
mod gated_repository;
mod hits;
mod overlaps;
mod revocation;

use std::{sync::Arc, time::Duration};

use tee_session_domain::{
    BaseUrl, Cookies, Login, NewSession, SessionManager, SessionPolicy, SessionRepository,
};
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};
use tee_session_redis_adapter::{RedisChanges, RedisRepository, RedisSettings};
use tee_session_test_support::eventually;

const SOON: Duration = Duration::from_secs(5);

/// One process: a manager over a repository that is kept near.
struct Instance {
    sessions: SessionManager<NearCachedRepository<RedisRepository>>,
    cache: Arc<NearCache>,
    _changes: RedisChanges,
}

impl Instance {
    /// Its changes are told, and so are sessions kept near.
    async fn start(url: &str) -> Self {
        Self::start_with(settings(url), url, NearCacheSettings::default()).await
    }

    /// The same, and it hears of changes by another way than it asks for sessions.
    async fn start_with(
        settings: RedisSettings,
        changes_url: &str,
        bounds: NearCacheSettings,
    ) -> Self {
        let instance = Self::start_unheard(settings, changes_url, bounds).await;
        eventually(SOON, async || instance.cache.is_serving()).await;
        instance
    }

    /// The same, and changes may not be told yet.
    async fn start_unheard(
        settings: RedisSettings,
        changes_url: &str,
        bounds: NearCacheSettings,
    ) -> Self {
        let cache = NearCache::new(&bounds);
        let feed = RedisSettings::new(changes_url).unwrap();
        let changes = RedisChanges::tell(&feed, bounds.max_stale, cache.clone());
        let repository = RedisRepository::connect_pool(&settings, 2);
        repository.wait_until_connected(SOON).await.unwrap();
        let near = NearCachedRepository::new(repository, Some(cache.clone()));
        Self {
            sessions: manager(near),
            cache,
            _changes: changes,
        }
    }

    /// Asks for the only session that there is until it is kept near.
    async fn warm_up(&self, new: &NewSession) {
        eventually(SOON, async || {
            self.sessions.get(&new.token).await.unwrap();
            !self.cache.is_empty()
        })
        .await;
    }
}

fn settings(url: &str) -> RedisSettings {
    let settings = RedisSettings::new(url).unwrap();
    settings.telling_changes().unwrap()
}

/// A manager that slides a session once a minute at most.
fn manager<R: SessionRepository>(repository: R) -> SessionManager<R> {
    let policy = SessionPolicy::new(Duration::from_secs(1_800), None)
        .and_then(|policy| policy.with_touch_interval(Duration::from_secs(60)));
    let policy = policy.unwrap();
    let recent_slides = policy.recent_slides().map(Arc::new);
    SessionManager::new(repository, policy).with_recent_slides(recent_slides)
}

async fn stored<R: SessionRepository>(sessions: &SessionManager<R>) -> NewSession {
    sessions.store_login(login()).await.unwrap()
}

async fn stored_of<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &str,
) -> NewSession {
    sessions.store_login(login_of(subject)).await.unwrap()
}

fn login_of(subject: &str) -> Login {
    Login {
        subject: Some(subject.parse().unwrap()),
        ..login()
    }
}

fn login() -> Login {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    Login::new(
        cookies,
        BaseUrl::new("https://golf.example/members").unwrap(),
    )
}
