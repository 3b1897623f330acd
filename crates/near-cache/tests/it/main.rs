//! Integration tests of the near cache (copies of sessions in the process of the service), with a
//! real Redis server or with an in-memory store.
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
    BaseUrl, Cookies, Login, NewSession, SessionAttributes, SessionManager, SessionPolicy,
    SessionRepository,
};
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};
use tee_session_redis_adapter::{RedisInvalidationFeed, RedisRepository, RedisSettings};
use tee_session_test_support::eventually;

const SOON: Duration = Duration::from_secs(5);

/// An instance of the service: a session manager whose Redis repository is behind a near cache.
struct Instance {
    sessions: SessionManager<NearCachedRepository<RedisRepository>>,
    cache: Arc<NearCache>,
    _feed: RedisInvalidationFeed,
}

impl Instance {
    /// Starts an instance, and waits until its near cache can serve cached copies.
    async fn start(url: &str) -> Self {
        Self::start_with(redis_settings(url), url, NearCacheSettings::default()).await
    }

    /// Starts an instance that receives invalidations from the Redis URL `feed_url`. Waits until
    /// the near cache of the instance can serve cached copies.
    async fn start_with(
        settings: RedisSettings,
        feed_url: &str,
        limits: NearCacheSettings,
    ) -> Self {
        let instance = Self::start_without_feed(settings, feed_url, limits).await;
        eventually(SOON, async || instance.cache.is_serving()).await;
        instance
    }

    /// Starts an instance that receives invalidations from the Redis URL `feed_url`, without
    /// waiting for the invalidation feed.
    async fn start_without_feed(
        settings: RedisSettings,
        feed_url: &str,
        limits: NearCacheSettings,
    ) -> Self {
        let cache = NearCache::new(&limits);
        let feed_settings = RedisSettings::new(feed_url).unwrap();
        let feed =
            RedisInvalidationFeed::subscribe(&feed_settings, limits.max_stale, cache.clone());
        let repository = RedisRepository::connect_pool(&settings, 2);
        repository.wait_until_connected(SOON).await.unwrap();
        let near = NearCachedRepository::new(repository, Some(cache.clone()));
        Self {
            sessions: create_manager(near),
            cache,
            _feed: feed,
        }
    }

    /// Requests the session until the near cache contains a copy of the session. The caller must
    /// ensure that no other session is cached.
    async fn warm_up(&self, new: &NewSession) {
        eventually(SOON, async || {
            self.sessions.get(&new.token).await.unwrap();
            !self.cache.is_empty()
        })
        .await;
    }
}

fn redis_settings(url: &str) -> RedisSettings {
    let settings = RedisSettings::new(url).unwrap();
    // On a busy machine, a reply may take longer than the default of 500 ms.
    let settings = settings.with_command_timeout(SOON);
    settings.with_invalidation_feed().unwrap()
}

/// Creates a session manager that renews the TTL of a session at most once per minute (touch
/// interval).
fn create_manager<R: SessionRepository>(repository: R) -> SessionManager<R> {
    let policy = SessionPolicy::new(Duration::from_secs(1_800), None)
        .and_then(|policy| policy.with_touch_interval(Duration::from_secs(60)));
    let policy = policy.unwrap();
    let recent_touches = policy.recent_touches().map(Arc::new);
    SessionManager::new(repository, policy).with_recent_touches(recent_touches)
}

async fn store_session<R: SessionRepository>(sessions: &SessionManager<R>) -> NewSession {
    sessions.store_login(create_login()).await.unwrap()
}

async fn store_session_of<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &str,
) -> NewSession {
    sessions
        .store_login(create_login_of(subject))
        .await
        .unwrap()
}

fn create_login_of(subject: &str) -> Login {
    Login {
        attributes: SessionAttributes::of_subject(subject.parse().unwrap()),
        ..create_login()
    }
}

fn create_login() -> Login {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    Login::new(
        cookies,
        BaseUrl::new("https://golf.example/members").unwrap(),
    )
}
