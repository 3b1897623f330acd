//! Tests of Redis Sentinel: discovery of the primary, and failover to a new primary.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_domain::SessionRepository;
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{CapturedLogs, RedisProcess, RedisSentinels, eventually};
use tokio::time::sleep;

use crate::{
    CONNECTED_WITHIN, Sessions, base_url, cookies, faults::assert_serves_every_operation,
    sessions_with, settings,
};

const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// Timeout for a failover. The sentinels need time to detect that a server is down, and more time
/// to agree on a new primary.
const RECOVERED_WITHIN: Duration = Duration::from_secs(15);

async fn sessions(sentinels: &RedisSentinels) -> Sessions {
    sessions_with(&settings(&sentinels.url()).with_command_timeout(COMMAND_TIMEOUT)).await
}

#[derive(Debug, Clone, Copy)]
enum FailoverCause {
    Command,
    Killed,
    Paused,
}

/// Starts a failover by a command to a sentinel, or by killing or pausing the primary. The adapter
/// then uses the new primary. Writes that were replicated before the failover must not be lost,
/// even after the old primary runs again.
#[rstest]
#[case::failover_command(FailoverCause::Command)]
#[case::killed_primary(FailoverCause::Killed)]
#[case::paused_primary(FailoverCause::Paused)]
#[tokio::test]
async fn new_primary_is_used_after_a_sentinel_failover_and_replicated_writes_are_kept(
    #[case] cause: FailoverCause,
) {
    let mut redis = RedisSentinels::start().await;
    let sessions = sessions(&redis).await;
    let (kept, ended) = (
        sessions.store(cookies(), base_url()).await.unwrap(),
        sessions.store(cookies(), base_url()).await.unwrap(),
    );
    assert!(sessions.delete(&ended.token).await.unwrap());
    // Waits for replication, because a failover loses acknowledged writes that were not replicated.
    sleep(Duration::from_millis(300)).await;
    match cause {
        FailoverCause::Command => redis.fail_over().await,
        FailoverCause::Killed => redis.server_mut(0).kill().await,
        FailoverCause::Paused => redis.server(0).pause(),
    }
    eventually(RECOVERED_WITHIN, async || redis.primary().await != 0).await;
    eventually(RECOVERED_WITHIN, async || {
        let started = Instant::now();
        let stored = sessions.store(cookies(), base_url()).await;
        assert!(
            started.elapsed() < 4 * COMMAND_TIMEOUT,
            "{:?}",
            started.elapsed()
        );
        stored.is_ok()
    })
    .await;
    match cause {
        FailoverCause::Command => {}
        FailoverCause::Killed => redis.server_mut(0).start_again().await,
        FailoverCause::Paused => redis.server(0).resume(),
    }
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        // Errors are ignored, because the sentinels may close connections while they reconfigure
        // the servers.
        if let Ok(found) = sessions.exists(&kept.token).await {
            assert!(found, "a session was lost");
        }
        if let Ok(found) = sessions.exists(&ended.token).await {
            assert!(!found, "a deleted session came back");
        }
        sleep(Duration::from_millis(10)).await;
    }
    sessions.get(&kept.token).await.unwrap();
}

/// Sets a wrong `masterauth` on both replicas, so that the remaining replica cannot follow the new
/// primary. The sentinels end a failover only when every replica follows the new primary. The
/// adapter must use the new primary although the failover has not ended.
#[tokio::test]
async fn new_primary_is_used_during_a_failover_before_all_replicas_follow_it() {
    let mut redis = RedisSentinels::start().await;
    let sessions = sessions(&redis).await;
    for n in [1, 2] {
        let set = ["CONFIG", "SET", "masterauth", "none-that-fits"];
        redis.server(n).command(&set).await;
    }
    redis.server_mut(0).kill().await;
    eventually(RECOVERED_WITHIN, async || {
        sessions.store(cookies(), base_url()).await.is_ok()
    })
    .await;
    // The adapter keeps using the new primary during the next 2 s.
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        sessions.store(cookies(), base_url()).await.unwrap();
        sleep(Duration::from_millis(10)).await;
    }
}

/// Makes the sentinels name another server as the primary. The adapter must close its connection to
/// the replaced primary, although that server still replies, because writes to a replaced primary
/// are lost.
#[tokio::test]
async fn connection_to_a_primary_that_the_sentinels_have_replaced_is_closed() {
    let logs = CapturedLogs::start();
    let redis = RedisSentinels::start().await;
    let other = RedisProcess::start().await;
    let sessions = sessions(&redis).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let port = other.port().to_string();
    for n in 0..3 {
        let sentinel = redis.sentinel(n);
        sentinel.command(&["SENTINEL", "REMOVE", "tee"]).await;
        let monitor = ["SENTINEL", "MONITOR", "tee", "127.0.0.1", &port, "2"];
        sentinel.command(&monitor).await;
    }
    eventually(Duration::from_secs(4), async || {
        sessions.exists(&new.token).await.is_ok_and(|found| !found)
    })
    .await;
    let lost = logs.events("Redis connection lost");
    assert_eq!(lost.len(), 1);
    assert!(lost[0].contains("replaced"), "{lost:?}");
}

#[tokio::test]
async fn connecting_succeeds_within_700_ms_although_one_sentinel_does_not_reply() {
    let redis = RedisSentinels::start().await;
    redis.sentinel(0).pause();
    for _ in 0..3 {
        let began = Instant::now();
        let repository = RedisRepository::connect(&settings(&redis.url()));
        repository
            .wait_until_connected(CONNECTED_WITHIN)
            .await
            .unwrap();
        assert!(
            began.elapsed() < Duration::from_millis(700),
            "{:?}",
            began.elapsed()
        );
        repository.ping().await.unwrap();
    }
    redis.sentinel(0).resume();
}

/// Connects with a URL whose `sentinelServiceName` the sentinels do not know.
#[tokio::test]
async fn unknown_sentinel_service_name_is_logged_as_the_cause_of_the_failed_connection() {
    let logs = CapturedLogs::start();
    let redis = RedisSentinels::start().await;
    let url = redis.url().replace("=tee", "=another");
    let _repository = RedisRepository::connect(&settings(&url));
    let failed = "Redis connection attempt failed: trying again";
    eventually(RECOVERED_WITHIN, async || !logs.events(failed).is_empty()).await;
    assert!(
        logs.text().contains("sentinelServiceName"),
        "{}",
        logs.text()
    );
}

/// Suspends the primary that the sentinels name. The sentinels do not start a failover during this
/// test.
#[tokio::test]
async fn log_names_the_primary_behind_sentinels_that_accepts_connections_but_does_not_reply() {
    let logs = CapturedLogs::start();
    let redis = RedisSentinels::start_with(0, &[]).await;
    for n in 0..3 {
        let set = ["SENTINEL", "SET", "tee", "down-after-milliseconds", "60000"];
        redis.sentinel(n).command(&set).await;
    }
    redis.server(0).pause();
    let _repository = RedisRepository::connect(&settings(&redis.url()));
    let failed = "Redis connection attempt failed: trying again";
    eventually(RECOVERED_WITHIN, async || !logs.events(failed).is_empty()).await;
    let port = redis.server(0).port();
    let reason = format!("127.0.0.1:{port} accepts connections, but does not reply");
    assert!(logs.text().contains(&reason), "{}", logs.text());
    redis.server(0).resume();
}

#[tokio::test]
async fn session_operations_succeed_with_minimal_redis_permissions_and_sentinel_passwords() {
    let redis = RedisSentinels::start().await;
    crate::faults::add_minimal_user(redis.server(0)).await;
    for n in 0..3 {
        let set = ["ACL", "SETUSER", "watcher", "on", ">w4tch", "-@all"];
        let may = [
            "+sentinel|master",
            "+sentinel|get-master-addr-by-name",
            "+info",
        ];
        let user = [set.as_slice(), &may].concat();
        redis.sentinel(n).command(&user).await;
        let default = ["ACL", "SETUSER", "default", "-sentinel|master"];
        redis.sentinel(n).command(&default).await;
    }
    let url = redis
        .url()
        .replace("redis-sentinel://", "redis-sentinel://tee:s3cret@");
    let url = format!("{url}&sentinelUsername=watcher&sentinelPassword=w4tch");
    assert_serves_every_operation(&settings(&url)).await;
}
