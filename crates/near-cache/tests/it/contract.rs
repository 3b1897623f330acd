//! Tests that a Redis repository behind a near cache passes the tests that every session repository
//! must pass (contract suite).

use std::{sync::Arc, time::Duration};

use tee_session_domain::{SessionRepository, SessionToken, contract::Harness};
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};
use tee_session_redis_adapter::{
    RedisInvalidationFeed, RedisRepository, RedisSettings, StorageFormat,
};
use tee_session_test_support::{TestRedis, eventually};
use tokio::sync::Mutex;

use crate::{SOON, redis_settings};

mod sealed {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = NearRedis::start(|settings| settings).await,
    }
}

mod plain {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = NearRedis::start(|settings| settings.with_storage_format(StorageFormat::Plain)).await,
    }
}

struct NearRedis {
    server: Mutex<TestRedis>,
    repository: Arc<NearCachedRepository<RedisRepository>>,
    _feed: RedisInvalidationFeed,
}

impl NearRedis {
    async fn start(choose: impl FnOnce(RedisSettings) -> RedisSettings) -> Self {
        let server = TestRedis::start().await;
        let settings = choose(redis_settings(server.url()));
        let limits = NearCacheSettings::default();
        let cache = NearCache::new(&limits);
        let feed = RedisInvalidationFeed::subscribe(&settings, limits.max_stale, cache.clone());
        let repository = RedisRepository::connect(&settings);
        repository.wait_until_connected(SOON).await.unwrap();
        eventually(SOON, async || cache.is_serving()).await;
        Self {
            server: Mutex::new(server),
            repository: Arc::new(NearCachedRepository::new(repository, Some(cache))),
            _feed: feed,
        }
    }
}

impl Harness for NearRedis {
    type Repository = Arc<NearCachedRepository<RedisRepository>>;

    fn repository(&self) -> Self::Repository {
        Arc::clone(&self.repository)
    }

    /// Sleeps for `duration`. Redis decides expiry by its own clock, which a test cannot advance.
    async fn pass(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn lose_store(&self) -> bool {
        self.server.lock().await.lose().await;
        true
    }

    async fn hang_store(&self) -> bool {
        self.server.lock().await.hang().await;
        true
    }

    async fn damage(&self, token: &SessionToken) -> bool {
        let server = self.server.lock().await;
        for key in self.repository.store_keys(token) {
            let key = std::str::from_utf8(key.expose_secret()).unwrap();
            server.overwrite(key, "not a session").await;
        }
        // Until the invalidation arrives, the near cache may serve its copy of the session.
        eventually(SOON, async || self.repository.load(token).await.is_err()).await;
        true
    }
}
