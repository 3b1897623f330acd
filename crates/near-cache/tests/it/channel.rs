//! The channel on which Redis tells of changes.

use std::time::{Duration, Instant};

use tee_session_domain::{RepositoryError, SessionError};
use tee_session_near_cache::{NearCache, NearCacheSettings};
use tee_session_redis_adapter::{RedisChanges, RedisSettings};
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, RedisSentinels, eventually};

use crate::{Instance, SOON, settings, stored};

#[tokio::test]
async fn without_redis_nothing_is_answered_for_longer_than_allowed() {
    let mut redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis.kill().await;
    let (lost, max_stale) = (Instant::now(), NearCacheSettings::default().max_stale);
    let mut refusals = 0;
    eventually(SOON, async || {
        let asked = Instant::now();
        match instance.sessions.get(&new.token).await {
            Ok(_) => assert!(asked < lost + max_stale, "served too late"),
            Err(SessionError::Repository(RepositoryError::Unavailable { .. })) => refusals += 1,
            Err(error) => panic!("{error}"),
        }
        refusals > 0 && asked > lost + 2 * max_stale
    })
    .await;
    assert!(instance.cache.is_empty(), "wiped");
}

#[tokio::test]
async fn after_an_outage_sessions_are_kept_near_again() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let way = format!("redis://{}/0", proxy.address());
    let url = redis.url();
    let instance = Instance::start_with(settings(&url), &way, NearCacheSettings::default()).await;
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
    proxy.set(Fault::CutAfter(0));
    eventually(SOON, async || !instance.cache.is_serving()).await;
    assert!(instance.cache.is_empty());
    instance.sessions.get(&new.token).await.unwrap();
    assert!(
        instance.cache.is_empty(),
        "nothing is kept while nothing is told"
    );
    proxy.set(Fault::None);
    eventually(SOON, async || instance.cache.is_serving()).await;
    instance.warm_up(&new).await;
}

#[tokio::test]
async fn what_another_server_keeps_is_not_kept_near() {
    let (redis, other) = (RedisProcess::start().await, RedisProcess::start().await);
    let bounds = NearCacheSettings::default();
    let instance = Instance::start_with(settings(&redis.url()), &other.url(), bounds).await;
    let new = stored(&instance.sessions).await;
    for _ in 0..20 {
        instance.sessions.get(&new.token).await.unwrap();
    }
    assert!(instance.cache.is_empty());
}

#[tokio::test]
async fn after_a_fail_over_the_next_primary_tells_changes() {
    let sentinels = RedisSentinels::start().await;
    let url = sentinels.url();
    let instance = Instance::start(&url).await;
    let new = stored(&instance.sessions).await;
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
async fn a_missing_permission_is_told_by_name() {
    let redis = RedisProcess::start().await;
    let allowed = ["+@all", "-client|tracking", "~*", "on", "nopass"];
    redis
        .command(&[&["ACL", "SETUSER", "near"], allowed.as_slice()].concat())
        .await;
    let url = format!("redis://near:any@127.0.0.1:{}/0", redis.port());
    let cache = NearCache::new(&NearCacheSettings::default());
    let settings = RedisSettings::new(&url).unwrap();
    let changes = RedisChanges::tell(&settings, Duration::from_secs(1), cache);
    let refused = changes.wait_until_telling(SOON).await.unwrap_err();
    assert!(refused.to_string().contains("client|tracking"), "{refused}");
}

#[tokio::test]
async fn the_permissions_that_are_named_are_enough() {
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
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
}

#[tokio::test]
async fn a_redis_that_comes_later_is_waited_for() {
    let mut redis = RedisProcess::start().await;
    let url = redis.url();
    redis.kill().await;
    let cache = NearCache::new(&NearCacheSettings::default());
    let settings = RedisSettings::new(&url).unwrap();
    let changes = RedisChanges::tell(&settings, Duration::from_secs(1), cache.clone());
    let telling = changes.wait_until_telling(Duration::from_millis(300)).await;
    assert_eq!(telling, Ok(false));
    redis.start_again().await;
    assert_eq!(changes.wait_until_telling(SOON).await, Ok(true));
    assert!(cache.is_serving());
    drop(changes);
    eventually(SOON, async || !cache.is_serving()).await;
}
