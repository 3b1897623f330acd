//! Changes that no instance made are seen, whoever made them.

use std::time::Duration;

use fred::interfaces::KeysInterface;
use rstest::rstest;
use tee_session_near_cache::NearCacheSettings;
use tee_session_redis_adapter::StorageFormat;
use tee_session_test_support::{RedisProcess, eventually};

use crate::{Instance, SOON, settings, stored};

/// The one key in Redis that stands for a session.
async fn key(redis: &RedisProcess) -> String {
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
async fn a_command_of_anybody(
    #[case] command: &str,
    #[case] arguments: &[&str],
    #[values(StorageFormat::Sealed, StorageFormat::Plain)] format: StorageFormat,
) {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let settings = settings(&url).with_storage_format(format);
    let instance = Instance::start_with(settings, &url, NearCacheSettings::default()).await;
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
    let key = key(&redis).await;
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
async fn a_command_that_takes_all_keys(#[case] command: &[&str]) {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis.command(command).await;
    eventually(SOON, async || {
        instance.sessions.get(&new.token).await.is_err()
    })
    .await;
    // And it goes on.
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
}

#[tokio::test]
async fn an_eviction() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis
        .command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"])
        .await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // Only what writes makes Redis look for room, and it does not find enough.
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
async fn an_end_that_redis_has_not_noticed_yet() {
    let redis = RedisProcess::start_with(&["--save", "", "--enable-debug-command", "local"]).await;
    // It looks for keys that have ended once a second, at most, and then at a few.
    redis.command(&["CONFIG", "SET", "hz", "1"]).await;
    let instance = Instance::start(&redis.url()).await;
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
    redis.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).await;
    redis.command(&["PEXPIRE", &key(&redis).await, "500"]).await;
    // Kept near once more, with that end.
    let ends = std::time::Instant::now() + Duration::from_millis(500);
    while std::time::Instant::now() < ends {
        let _ = instance.sessions.get(&new.token).await;
    }
    eventually(SOON, async || {
        instance.sessions.get(&new.token).await.is_err()
    })
    .await;
}
