//! Behind Sentinel: the primary is found, and found anew when it is another one.

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

const COMMAND_TIMEOUT: Duration = Duration::from_millis(300);

/// The sentinels take a second to call a server dead, and some to agree on another.
const RECOVERED_WITHIN: Duration = Duration::from_secs(15);

async fn sessions(sentinels: &RedisSentinels) -> Sessions {
    sessions_with(&settings(&sentinels.url()).with_command_timeout(COMMAND_TIMEOUT)).await
}

#[derive(Debug, Clone, Copy)]
enum Lost {
    HandedOver,
    Killed,
    Paused,
}

/// Whatever ends the first primary: the next one is found, and what was acknowledged and had
/// reached it holds, when the first one is back as well.
#[rstest]
#[case::handed_over(Lost::HandedOver)]
#[case::killed(Lost::Killed)]
#[case::paused(Lost::Paused)]
#[tokio::test]
async fn the_next_primary_is_found(#[case] lost: Lost) {
    let mut redis = RedisSentinels::start().await;
    let sessions = sessions(&redis).await;
    let (kept, ended) = (
        sessions.store(cookies(), base_url()).await.unwrap(),
        sessions.store(cookies(), base_url()).await.unwrap(),
    );
    assert!(sessions.delete(&ended.token).await.unwrap());
    // Acknowledged and then lost is what asynchronous replication may do: not what this is about.
    sleep(Duration::from_millis(300)).await;
    match lost {
        Lost::HandedOver => redis.fail_over().await,
        Lost::Killed => redis.server_mut(0).kill().await,
        Lost::Paused => redis.server(0).pause(),
    }
    eventually(RECOVERED_WITHIN, async || redis.primary().await != 0).await;
    eventually(RECOVERED_WITHIN, async || {
        let asked = Instant::now();
        let stored = sessions.store(cookies(), base_url()).await;
        assert!(
            asked.elapsed() < 4 * COMMAND_TIMEOUT,
            "{:?}",
            asked.elapsed()
        );
        stored.is_ok()
    })
    .await;
    match lost {
        Lost::HandedOver => {}
        Lost::Killed => redis.server_mut(0).start_again().await,
        Lost::Paused => redis.server(0).resume(),
    }
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        // While the sentinels put the servers in order, a connection may be cut.
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

/// The failover is not over for its sentinel until every replica follows the new primary, and that
/// may take long: nobody waits for it.
#[tokio::test]
async fn the_next_primary_serves_although_a_replica_cannot_follow_it() {
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
    // And goes on serving.
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        sessions.store(cookies(), base_url()).await.unwrap();
        sleep(Duration::from_millis(10)).await;
    }
}

/// What a frozen or cut-off primary takes after it has been replaced is lost: nobody may go on
/// asking it, though it answers as before.
#[tokio::test]
async fn a_replaced_primary_that_still_answers_is_left() {
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
async fn a_sentinel_that_hangs_or_is_gone_delays_nothing() {
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

/// The sentinels know a name of their own for the primary.
#[tokio::test]
async fn a_name_that_the_sentinels_do_not_know_is_told_in_the_log() {
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

#[tokio::test]
async fn a_user_with_the_minimal_permissions_serves_behind_sentinels_with_a_password() {
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
