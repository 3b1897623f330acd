//! Tests of the invalidation feed, through which Redis reports changed sessions. In the tests, the
//! feed is lost, restored, moved to another server, or refused.

use std::time::{Duration, Instant};

use tee_session_domain::{RepositoryError, SessionError};
use tee_session_near_cache::{NearCache, NearCacheSettings};
use tee_session_redis_adapter::{RedisInvalidationFeed, RedisSettings};
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, RedisSentinels, eventually};

use crate::{Instance, SOON, redis_settings, store_session};

#[tokio::test]
async fn cached_sessions_are_served_for_at_most_the_maximum_staleness_after_redis_stops() {
    let mut redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis.kill().await;
    let (lost, max_stale) = (Instant::now(), instance.cache.max_stale());
    let mut refusals = 0;
    eventually(SOON, async || {
        let requested = Instant::now();
        match instance.sessions.get(&new.token).await {
            Ok(_) => assert!(requested < lost + max_stale, "served too late"),
            Err(SessionError::Repository(RepositoryError::Unavailable { .. })) => refusals += 1,
            Err(error) => panic!("{error}"),
        }
        refusals > 0 && requested > lost + 2 * max_stale
    })
    .await;
    assert!(instance.cache.is_empty(), "copies are dropped");
}

#[tokio::test]
async fn sessions_are_cached_again_after_the_invalidation_feed_is_restored() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let feed_url = format!("redis://{}/0", proxy.address());
    let url = redis.url();
    let limits = NearCacheSettings::default();
    let instance = Instance::start_with(redis_settings(&url), &feed_url, limits).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    proxy.set(Fault::CutAfter(0));
    eventually(SOON, async || !instance.cache.is_serving()).await;
    assert!(instance.cache.is_empty());
    instance.sessions.get(&new.token).await.unwrap();
    assert!(
        instance.cache.is_empty(),
        "no session is cached while the feed is lost"
    );
    proxy.set(Fault::None);
    eventually(SOON, async || instance.cache.is_serving()).await;
    instance.warm_up(&new).await;
}

#[tokio::test]
async fn session_is_not_cached_if_the_invalidation_feed_comes_from_another_redis_server() {
    let (redis, other) = (RedisProcess::start().await, RedisProcess::start().await);
    let limits = NearCacheSettings::default();
    let instance = Instance::start_with(redis_settings(&redis.url()), &other.url(), limits).await;
    let new = store_session(&instance.sessions).await;
    for _ in 0..20 {
        instance.sessions.get(&new.token).await.unwrap();
    }
    assert!(instance.cache.is_empty());
}

#[tokio::test]
async fn invalidation_feed_connects_to_the_new_primary_after_a_failover() {
    let sentinels = RedisSentinels::start().await;
    let url = sentinels.url();
    let instance = Instance::start(&url).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    sentinels.fail_over().await;
    eventually(SOON, async || instance.cache.is_empty()).await;
    let within = Duration::from_secs(20);
    eventually(within, async || instance.cache.is_serving()).await;
    eventually(within, async || {
        instance.sessions.get(&new.token).await.is_ok()
    })
    .await;
    instance.warm_up(&new).await;
    let other = Instance::start(&url).await;
    assert!(other.sessions.delete(&new.token).await.unwrap());
    eventually(SOON, async || {
        instance.sessions.get(&new.token).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn invalidation_feed_error_names_the_missing_redis_permission() {
    let redis = RedisProcess::start().await;
    let allowed = ["+@all", "-client|tracking", "~*", "on", "nopass"];
    redis
        .command(&[&["ACL", "SETUSER", "near"], allowed.as_slice()].concat())
        .await;
    let url = format!("redis://near:any@127.0.0.1:{}/0", redis.port());
    let cache = NearCache::new(&NearCacheSettings::default());
    let settings = RedisSettings::new(&url).unwrap();
    let feed = RedisInvalidationFeed::subscribe(&settings, Duration::from_secs(1), cache);
    let refused = feed.wait_until_feed_is_up(SOON).await.unwrap_err();
    assert!(refused.to_string().contains("client|tracking"), "{refused}");
}

#[tokio::test]
async fn documented_redis_permissions_are_sufficient_for_the_near_cache() {
    let redis = RedisProcess::start().await;
    let allowed = [
        "reset",
        "on",
        "nopass",
        "~session:*",
        "+get",
        "+set",
        "+del",
        "+expire",
        "+pexpire",
        "+pttl",
        "+time",
        "+info",
        "+client|tracking",
        "+select",
    ];
    redis
        .command(&[&["ACL", "SETUSER", "near"], allowed.as_slice()].concat())
        .await;
    let url = format!("redis://near:any@127.0.0.1:{}/0", redis.port());
    let instance = Instance::start(&url).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
}

#[tokio::test]
async fn invalidation_feed_is_established_when_redis_is_started_after_the_service() {
    let mut redis = RedisProcess::start().await;
    let url = redis.url();
    redis.kill().await;
    let cache = NearCache::new(&NearCacheSettings::default());
    let settings = RedisSettings::new(&url).unwrap();
    let feed = RedisInvalidationFeed::subscribe(&settings, Duration::from_secs(1), cache.clone());
    let is_up = feed.wait_until_feed_is_up(Duration::from_millis(300)).await;
    assert_eq!(is_up, Ok(false));
    redis.start_again().await;
    assert_eq!(feed.wait_until_feed_is_up(SOON).await, Ok(true));
    assert!(cache.is_serving());
    drop(feed);
    eventually(SOON, async || !cache.is_serving()).await;
}
