//! The connection's life: made in the background, remade, closed.

use std::time::{Duration, Instant};

use fred::interfaces::{ClientLike, KeysInterface};
use rstest::rstest;
use tee_session_domain::{
    RepositoryError, SessionError, SessionManager, SessionPolicy, SessionRepository,
};
use tee_session_redis_adapter::{RedisRepository, RedisSettings};
use tee_session_test_support::{
    CapturedLogs, Fault, FaultProxy, RedisProcess, TestRedis, eventually,
};
use time::OffsetDateTime;

use crate::{base_url, connected, cookies, plain, plain_key, sessions, settings};

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

/// Well below the time that a command may take: nobody waited for Redis.
const FAILS_FAST: Duration = Duration::from_millis(400);

async fn serves(repository: &RedisRepository) -> bool {
    repository.ping().await.is_ok()
}

#[tokio::test]
async fn starts_without_redis_and_fails_fast_until_it_is_there() {
    let mut redis = RedisProcess::start().await;
    redis.kill().await;
    let repository = RedisRepository::connect(&settings(&redis.url()));
    let asked = Instant::now();
    let error = repository.ping().await.unwrap_err();
    assert!(
        matches!(error, RepositoryError::Unavailable { .. }),
        "{error:?}"
    );
    assert!(asked.elapsed() < FAILS_FAST, "{:?}", asked.elapsed());
    redis.start_again().await;
    eventually(RECOVERED_WITHIN, async || serves(&repository).await).await;
}

#[tokio::test]
async fn the_first_call_waits_for_the_connection() {
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(RECOVERED_WITHIN);
    let repository = RedisRepository::connect(&settings);
    repository.ping().await.unwrap();
}

#[tokio::test]
async fn the_first_call_waits_for_a_redis_that_hangs_no_longer_than_for_any_other() {
    let redis = RedisProcess::start().await;
    redis.pause();
    let settings = settings(&redis.url()).with_command_timeout(FAILS_FAST / 2);
    let repository = RedisRepository::connect(&settings);
    let asked = Instant::now();
    repository.ping().await.unwrap_err();
    assert!(asked.elapsed() < FAILS_FAST, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn recovers_when_redis_was_killed_and_comes_back() {
    let mut redis =
        RedisProcess::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    for _ in 0..2 {
        redis.kill().await;
        eventually(Duration::from_secs(1), async || {
            !serves(sessions.repository()).await
        })
        .await;
        let asked = Instant::now();
        sessions.get(&new.token).await.unwrap_err();
        assert!(asked.elapsed() < FAILS_FAST, "{:?}", asked.elapsed());
        redis.start_again().await;
        eventually(RECOVERED_WITHIN, async || {
            serves(sessions.repository()).await
        })
        .await;
        sessions.get(&new.token).await.unwrap();
    }
}

#[tokio::test]
async fn a_paused_redis_is_unavailable_in_time_and_serves_again_afterwards() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.pause();
    // Long enough for the heartbeats to give the first client up.
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        sessions.get(&new.token).await.unwrap_err();
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redis.resume();
    eventually(RECOVERED_WITHIN, async || {
        serves(sessions.repository()).await
    })
    .await;
    sessions.get(&new.token).await.unwrap();
}

/// As some that are run for others.
#[tokio::test]
async fn a_redis_that_tells_nothing_of_itself_is_used() {
    let redis = RedisProcess::start_with(&["--rename-command", "INFO", ""]).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    sessions.get(&new.token).await.unwrap();
}

/// Settings that lose sessions, and what the log says of them.
#[rstest]
#[case::sound(&["--maxmemory-policy", "noeviction", "--appendonly", "yes"], &[])]
#[case::snapshots(&["--maxmemory-policy", "noeviction", "--save", "60 1"], &[])]
#[case::evicts(&["--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"], &["maxmemory-policy"])]
#[case::forgets(&["--save", "", "--appendonly", "no"], &["appendonly"])]
#[case::both(&["--maxmemory-policy", "volatile-ttl", "--save", ""], &["maxmemory-policy", "appendonly"])]
#[tokio::test]
async fn settings_that_lose_sessions_are_warned_of_once(
    #[case] options: &[&str],
    #[case] warned_of: &[&str],
) {
    let redis = RedisProcess::start_with(options).await;
    let logs = CapturedLogs::start();
    // As several workers, and after a lost connection.
    let (one, _other) = (connected(&redis.url()).await, connected(&redis.url()).await);
    let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis.command(&kill).await;
    eventually(RECOVERED_WITHIN, async || serves(&one).await).await;
    let looked = "Looked at the settings of Redis";
    eventually(RECOVERED_WITHIN, async || logs.events(looked).len() >= 3).await;
    let text = logs.text();
    let warnings: Vec<_> = text.lines().filter(|l| l.contains("logs")).collect();
    assert_eq!(warnings.len(), warned_of.len(), "{warnings:?}");
    for (warning, setting) in warnings.iter().zip(warned_of) {
        assert!(
            warning.contains("WARN") && warning.contains(setting),
            "{warning}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_redis_kills_is_made_anew() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    for _ in 0..3 {
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        let killed = redis.command(&kill).await.as_i64();
        assert_eq!(killed, Some(1));
        eventually(RECOVERED_WITHIN, async || serves(&repository).await).await;
    }
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_unavailable_and_never_answers_from_stale_data() {
    let (redis, primary) = (RedisProcess::start().await, RedisProcess::start().await);
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let port = primary.port().to_string();
    redis.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    // Long enough for the replica to have copied its primary, which knows no session.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        assert!(is_unavailable(sessions.ttl(&new.token).await));
        assert!(is_unavailable(sessions.exists(&new.token).await));
        assert!(is_unavailable(sessions.get(&new.token).await));
        assert!(is_unavailable(sessions.delete(&new.token).await));
        assert!(!serves(sessions.repository()).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    eventually(RECOVERED_WITHIN, async || {
        sessions.store(cookies(), base_url()).await.is_ok()
    })
    .await;
}

fn is_unavailable<T>(result: Result<T, SessionError>) -> bool {
    matches!(
        result,
        Err(SessionError::Repository(
            RepositoryError::Unavailable { .. }
        ))
    )
}

/// Name resolution, TLS or a sentinel may take longer than any command should.
#[tokio::test]
async fn connects_although_connecting_takes_longer_than_a_command_may() {
    let redis = RedisProcess::start().await;
    let slow = FaultProxy::to(format!("127.0.0.1:{}", redis.port()))
        .await
        .with_connect_delay(Duration::from_millis(700));
    let repository = RedisRepository::connect(&settings(&format!("redis://{}", slow.address())));
    repository
        .wait_until_connected(RECOVERED_WITHIN)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_repository_dropped_while_it_connects_leaves_nothing_behind() {
    let redis = RedisProcess::start().await;
    let slow = FaultProxy::to(format!("127.0.0.1:{}", redis.port()))
        .await
        .with_connect_delay(Duration::from_millis(300));
    let repository = RedisRepository::connect(&settings(&format!("redis://{}", slow.address())));
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(repository);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(redis.client_count().await, 0);
}

#[tokio::test]
async fn an_outage_leaves_no_connection_and_no_client_behind() {
    let mut redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    for _ in 0..3 {
        redis.kill().await;
        redis.start_again().await;
        eventually(RECOVERED_WITHIN, async || serves(&repository).await).await;
    }
    eventually(RECOVERED_WITHIN, async || redis.client_count().await == 1).await;
}

#[tokio::test]
async fn closes_within_its_bound_and_redis_sees_it_go() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let closing = Instant::now();
    repository.close().await;
    assert!(
        closing.elapsed() < Duration::from_secs(1),
        "{:?}",
        closing.elapsed()
    );
    let error = repository.ping().await.unwrap_err();
    assert!(
        matches!(error, RepositoryError::Unavailable { .. }),
        "{error:?}"
    );
    assert_eq!(redis.client_count().await, 0);
    repository.close().await;
}

#[tokio::test]
async fn closes_within_its_bound_when_redis_hangs() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    redis.pause();
    let closing = Instant::now();
    repository.close().await;
    assert!(
        closing.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        closing.elapsed()
    );
    redis.resume();
}

#[tokio::test]
async fn a_dropped_repository_ends_its_connections() {
    let redis = RedisProcess::start().await;
    let repository = RedisRepository::connect_pool(&settings(&redis.url()), 3);
    repository
        .wait_until_connected(RECOVERED_WITHIN)
        .await
        .unwrap();
    assert_eq!(redis.client_count().await, 3);
    drop(repository);
    eventually(RECOVERED_WITHIN, async || redis.client_count().await == 0).await;
}

#[tokio::test]
async fn waiting_for_a_connection_ends_when_there_is_none() {
    let mut redis = RedisProcess::start().await;
    redis.kill().await;
    let repository = RedisRepository::connect(&settings(&redis.url()));
    let error = repository
        .wait_until_connected(Duration::from_millis(200))
        .await
        .unwrap_err();
    assert!(
        matches!(error, RepositoryError::Unavailable { .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pool_is_shared_by_threads_and_serves_with_a_part_of_its_connections() {
    let server = TestRedis::start().await;
    let repository = RedisRepository::connect_pool(&settings(server.url()), 3);
    repository
        .wait_until_connected(RECOVERED_WITHIN)
        .await
        .unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let sessions = SessionManager::new(repository.clone(), SessionPolicy::default());
            tokio::spawn(async move {
                for _ in 0..50 {
                    let new = sessions.store(cookies(), base_url()).await.unwrap();
                    let active = sessions.get(&new.token).await.unwrap();
                    assert_eq!(active.session, new.session);
                    assert!(sessions.delete(&new.token).await.unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Both clocks may be corrected while a test runs.
const CLOCK_CORRECTION: Duration = Duration::from_millis(100);

#[tokio::test]
async fn the_clock_is_that_of_redis() {
    let server = TestRedis::start().await;
    let (repository, redis) = (connected(server.url()).await, server.client().await);
    let time = fred::types::CustomCommand::new_static("TIME", None::<u16>, false);
    let before = repository.now() - CLOCK_CORRECTION;
    let (seconds, micros): (i64, i64) = redis.custom(time, Vec::<String>::new()).await.unwrap();
    let after = repository.now() + CLOCK_CORRECTION;
    let of_redis = OffsetDateTime::UNIX_EPOCH
        + time::Duration::seconds(seconds)
        + time::Duration::microseconds(micros);
    assert!((before..=after).contains(&of_redis), "{of_redis}");
}

/// Three heartbeats whose commands and replies are delayed by 200 ms.
#[tokio::test]
async fn slow_replies_do_not_set_the_clock_back() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let repository = connected(&format!("redis://{}/0", proxy.address())).await;
    proxy.set(Fault::Delay(Duration::from_millis(200)));
    let heartbeats = async || {
        let statistics = redis.command(&["INFO", "commandstats"]).await;
        let statistics = statistics.as_string().unwrap();
        let of_time = statistics.split("cmdstat_time:calls=").nth(1);
        let calls = of_time.and_then(|text| text.split(',').next()?.parse::<u32>().ok());
        calls.unwrap_or(0)
    };
    let (started, before, known) = (Instant::now(), repository.now(), heartbeats().await);
    // A heartbeat is sent when the reply to the one before has arrived.
    eventually(3 * RECOVERED_WITHIN, async || {
        let passed = repository.now() - before + CLOCK_CORRECTION;
        assert!(passed >= started.elapsed(), "{passed}");
        heartbeats().await >= known + 3
    })
    .await;
}

#[tokio::test]
async fn wrong_credentials_are_unavailable_until_they_are_right_and_never_logged() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    let admin = redis.client().await;
    let url = format!("redis://:s3cret-pass@127.0.0.1:{}/0", redis.port());
    let config = |value: &'static str| {
        let command = fred::types::CustomCommand::new_static("CONFIG", None::<u16>, false);
        admin.custom::<(), _>(command, vec!["SET", "requirepass", value])
    };
    config("another-pass").await.unwrap();
    let repository = RedisRepository::connect(&RedisSettings::new(&url).unwrap());
    eventually(RECOVERED_WITHIN, async || {
        !logs
            .events("Redis connection attempt failed: trying again")
            .is_empty()
    })
    .await;
    assert!(repository.ping().await.is_err());
    config("s3cret-pass").await.unwrap();
    eventually(RECOVERED_WITHIN, async || serves(&repository).await).await;
    assert!(logs.text().contains("WRONGPASS"), "{}", logs.text());
    assert!(!logs.text().contains("s3cret-pass"), "{}", logs.text());
    let _: () = admin.set("unused", 1, None, None, false).await.unwrap();
}

/// Reading, restoring an expiry: several round trips, one bound.
#[tokio::test]
async fn a_call_of_several_round_trips_ends_within_the_time_of_one_command() {
    let redis = RedisProcess::start().await;
    let settings = plain(&redis.url()).with_command_timeout(Duration::from_millis(300));
    let sessions = crate::sessions_with(&settings).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.command(&["PERSIST", &plain_key(&new.token)]).await;
    redis.command(&["CLIENT", "PAUSE", "200", "ALL"]).await;
    sessions.get(&new.token).await.unwrap();
    redis.command(&["CLIENT", "PAUSE", "1000", "ALL"]).await;
    let asked = Instant::now();
    assert!(is_unavailable(sessions.get(&new.token).await));
    assert!(
        asked.elapsed() < Duration::from_millis(600),
        "{:?}",
        asked.elapsed()
    );
}
