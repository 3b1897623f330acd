//! Tests that cached copies of sessions become invalid if another program or Redis itself changes
//! or removes the session records.

use std::time::Duration;

use fred::interfaces::KeysInterface;
use rstest::rstest;
use tee_session_near_cache::NearCacheSettings;
use tee_session_redis_adapter::StorageFormat;
use tee_session_test_support::{RedisProcess, eventually};

use crate::{Instance, SOON, redis_settings, store_session};

/// Returns the Redis key of the only session record in Redis.
async fn find_record_key(redis: &RedisProcess) -> String {
    let mut keys: Vec<String> = redis
        .command(&["KEYS", "session:*"])
        .await
        .convert()
        .unwrap();
    keys.retain(|key| !key.starts_with("session:-canary-"));
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}

#[rstest]
#[case::del("DEL", &[])]
#[case::unlink("UNLINK", &[])]
#[case::getdel("GETDEL", &[])]
#[case::overwritten("SET", &["something else"])]
#[case::appended_to("APPEND", &["x"])]
#[case::renamed("RENAME", &["elsewhere"])]
#[case::moved("MOVE", &["1"])]
#[case::expired_at_once("PEXPIRE", &["0"])]
#[case::expiring_soon("PEXPIRE", &["300"])]
#[tokio::test]
async fn change_of_a_session_by_another_redis_client_invalidates_its_cached_copy(
    #[case] command: &str,
    #[case] arguments: &[&str],
    #[values(StorageFormat::Sealed, StorageFormat::Plain)] format: StorageFormat,
) {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let settings = redis_settings(&url).with_storage_format(format);
    let instance = Instance::start_with(settings, &url, NearCacheSettings::default()).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    let key = find_record_key(&redis).await;
    redis
        .command(&[&[command, key.as_str()], arguments].concat())
        .await;
    eventually(SOON, async || {
        instance.sessions.get(&new.token).await.is_err()
    })
    .await;
}

#[rstest]
#[case::flushall(&["FLUSHALL"])]
#[case::flushdb(&["FLUSHDB"])]
#[case::flushed_in_the_background(&["FLUSHALL", "ASYNC"])]
#[case::swapped(&["SWAPDB", "0", "1"])]
#[tokio::test]
async fn flush_by_another_redis_client_invalidates_all_cached_copies(#[case] command: &[&str]) {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis.command(command).await;
    eventually(SOON, async || {
        instance.sessions.get(&new.token).await.is_err()
    })
    .await;
    // New sessions are cached again after the flush.
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
}

#[tokio::test]
async fn eviction_of_a_session_by_redis_invalidates_its_cached_copy() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis
        .command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"])
        .await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // Redis evicts keys only when a client writes. The memory limit of 1 byte cannot be met, so
    // Redis refuses the write after it has evicted the keys.
    let client = redis.client().await;
    let refused = client
        .set::<(), _, _>("anything", 1, None, None, false)
        .await;
    assert!(refused.is_err());
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually(SOON, async || {
        instance.sessions.get(&new.token).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn cached_session_expires_on_time_even_before_redis_reports_the_expiry() {
    let redis = RedisProcess::start_with(&["--save", "", "--enable-debug-command", "local"]).await;
    // With `hz 1`, Redis looks for expired keys at most once per second, and checks only a few
    // keys.
    redis.command(&["CONFIG", "SET", "hz", "1"]).await;
    let instance = Instance::start(&redis.url()).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).await;
    redis
        .command(&["PEXPIRE", &find_record_key(&redis).await, "500"])
        .await;
    // The requests in this loop cache the session again, with the new expiry of 500 ms.
    let ends = std::time::Instant::now() + Duration::from_millis(500);
    while std::time::Instant::now() < ends {
        let _ = instance.sessions.get(&new.token).await;
    }
    eventually(SOON, async || {
        instance.sessions.get(&new.token).await.is_err()
    })
    .await;
}
