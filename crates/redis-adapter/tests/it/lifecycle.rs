//! Tests of the life cycle of connections: connecting in the background, reconnecting after a loss,
//! and closing.

use std::time::{Duration, Instant};

use fred::interfaces::{ClientLike, KeysInterface};
use rstest::rstest;
use tee_session_domain::{
    RepositoryError, SessionError, SessionManager, SessionPolicy, SessionRepository,
};
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{
    CapturedLogs, Fault, FaultProxy, RedisProcess, TestRedis, eventually,
};
use time::OffsetDateTime;

use crate::{
    base_url, connect, cookies, plain_key, plain_settings, sessions, sessions_with, settings,
};

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

/// Maximum duration of a call that must fail fast, with a reserve for a busy machine.
const FAILS_FAST: Duration = Duration::from_secs(3);

/// Command timeout for calls that must time out.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

async fn serves(repository: &RedisRepository) -> bool {
    repository.ping().await.is_ok()
}

#[tokio::test]
async fn repository_calls_fail_within_400_ms_until_redis_is_started() {
    let mut redis = RedisProcess::start().await;
    redis.kill().await;
    let repository = RedisRepository::connect(&settings(&redis.url()));
    let started = Instant::now();
    let error = repository.ping().await.unwrap_err();
    assert!(
        matches!(error, RepositoryError::Unavailable { .. }),
        "{error:?}"
    );
    let took = started.elapsed();
    assert!(took < Duration::from_millis(400), "{took:?}");
    redis.start_again().await;
    eventually(RECOVERED_WITHIN, async || serves(&repository).await).await;
}

#[tokio::test]
async fn first_repository_call_waits_for_the_redis_connection_and_succeeds() {
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(RECOVERED_WITHIN);
    let repository = RedisRepository::connect(&settings);
    repository.ping().await.unwrap();
}

#[tokio::test]
async fn first_repository_call_fails_within_3_s_if_redis_hangs() {
    let redis = RedisProcess::start().await;
    redis.pause();
    let settings = settings(&redis.url()).with_command_timeout(COMMAND_TIMEOUT);
    let repository = RedisRepository::connect(&settings);
    let started = Instant::now();
    repository.ping().await.unwrap_err();
    assert!(started.elapsed() < FAILS_FAST, "{:?}", started.elapsed());
}

#[tokio::test]
async fn repository_reconnects_after_redis_was_killed_and_restarted() {
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
        let started = Instant::now();
        sessions.get(&new.token).await.unwrap_err();
        assert!(started.elapsed() < FAILS_FAST, "{:?}", started.elapsed());
        redis.start_again().await;
        eventually(RECOVERED_WITHIN, async || {
            serves(sessions.repository()).await
        })
        .await;
        sessions.get(&new.token).await.unwrap();
    }
}

#[tokio::test]
async fn repository_calls_time_out_while_redis_is_paused_and_succeed_after_it_resumes() {
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(COMMAND_TIMEOUT);
    let sessions = sessions_with(&settings).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.pause();
    // In 4 s, two consecutive heartbeats get no reply, so the client closes the first connection.
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(4) {
        let started = Instant::now();
        sessions.get(&new.token).await.unwrap_err();
        let took = started.elapsed();
        assert!(took < FAILS_FAST, "{took:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redis.resume();
    eventually(RECOVERED_WITHIN, async || {
        serves(sessions.repository()).await
    })
    .await;
    sessions.get(&new.token).await.unwrap();
}

/// Disables the INFO command in Redis, as some managed Redis services do.
#[tokio::test]
async fn sessions_can_be_stored_and_read_if_the_redis_info_command_is_disabled() {
    let redis = RedisProcess::start_with(&["--rename-command", "INFO", ""]).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    sessions.get(&new.token).await.unwrap();
}

/// Connects two repositories and closes their connections once. Each warning about a Redis option
/// that can lose sessions is logged once in the process, not once per connection.
#[rstest]
#[case::append_only_file_without_warning(&["--maxmemory-policy", "noeviction", "--appendonly", "yes"], &[])]
#[case::snapshots_without_warning(&["--maxmemory-policy", "noeviction", "--save", "60 1"], &[])]
#[case::eviction_of_keys(&["--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"], &["maxmemory-policy"])]
#[case::no_persistence(&["--save", "", "--appendonly", "no"], &["appendonly"])]
#[case::eviction_of_keys_and_no_persistence(&["--maxmemory-policy", "volatile-ttl", "--save", ""], &["maxmemory-policy", "appendonly"])]
#[tokio::test]
async fn each_redis_option_that_can_lose_sessions_is_logged_once_as_a_warning(
    #[case] options: &[&str],
    #[case] expected: &[&str],
) {
    let redis = RedisProcess::start_with(options).await;
    let logs = CapturedLogs::start();
    // Two repositories are connected, as in a process with two workers. CLIENT KILL closes both
    // connections, so both repositories connect again.
    let (one, _other) = (connect(&redis.url()).await, connect(&redis.url()).await);
    let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis.command(&kill).await;
    eventually(RECOVERED_WITHIN, async || serves(&one).await).await;
    let checked = "Checked the configuration of Redis";
    eventually(RECOVERED_WITHIN, async || logs.events(checked).len() >= 3).await;
    let text = logs.text();
    let warnings: Vec<_> = text.lines().filter(|l| l.contains("logs")).collect();
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, setting) in warnings.iter().zip(expected) {
        assert!(
            warning.contains("WARN") && warning.contains(setting),
            "{warning}"
        );
    }
}

#[tokio::test]
async fn connection_closed_by_the_redis_command_client_kill_is_restored() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    for _ in 0..3 {
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        let killed = redis.command(&kill).await.as_i64();
        assert_eq!(killed, Some(1));
        eventually(RECOVERED_WITHIN, async || serves(&repository).await).await;
    }
}

#[tokio::test]
async fn repository_calls_return_unavailable_and_no_stale_data_after_redis_became_a_replica() {
    let (redis, primary) = (RedisProcess::start().await, RedisProcess::start().await);
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let port = primary.port().to_string();
    redis.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    // In 3 s, the server synchronizes with its new primary, which has no sessions.
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

/// Delays the connection by 700 ms, which is longer than the command timeout of 500 ms. Name
/// resolution, TLS or a sentinel can cause such a delay.
#[tokio::test]
async fn connecting_to_redis_succeeds_even_if_it_takes_longer_than_the_command_timeout() {
    let redis = RedisProcess::start().await;
    let slow = FaultProxy::to(format!("127.0.0.1:{}", redis.port()))
        .await
        .with_connect_delay(Duration::from_millis(700));
    let settings = settings(&format!("redis://{}", slow.address()));
    let repository = RedisRepository::connect(&settings.with_command_timeout(COMMAND_TIMEOUT));
    repository
        .wait_until_connected(RECOVERED_WITHIN)
        .await
        .unwrap();
}

#[tokio::test]
async fn repository_dropped_while_it_connects_to_redis_leaves_no_open_connection() {
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
async fn exactly_one_connection_is_open_after_three_restarts_of_redis() {
    let mut redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    for _ in 0..3 {
        redis.kill().await;
        redis.start_again().await;
        eventually(RECOVERED_WITHIN, async || serves(&repository).await).await;
    }
    eventually(RECOVERED_WITHIN, async || redis.client_count().await == 1).await;
}

#[tokio::test]
async fn closing_the_repository_ends_all_redis_connections_within_1000_ms() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let closing = Instant::now();
    repository.close().await;
    let took = closing.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let error = repository.ping().await.unwrap_err();
    assert!(
        matches!(error, RepositoryError::Unavailable { .. }),
        "{error:?}"
    );
    assert_eq!(redis.client_count().await, 0);
    repository.close().await;
}

#[tokio::test]
async fn closing_the_repository_returns_within_1500_ms_when_redis_hangs() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    redis.pause();
    let closing = Instant::now();
    repository.close().await;
    let took = closing.elapsed();
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    redis.resume();
}

#[tokio::test]
async fn dropping_the_repository_closes_all_redis_connections() {
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
async fn waiting_for_the_redis_connection_returns_unavailable_after_the_timeout() {
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
async fn several_threads_can_store_read_and_delete_sessions_through_one_connection_pool() {
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

/// Tolerance for a time that is compared with a time of the system clock, because the system clock
/// may be corrected during a test.
const CLOCK_CORRECTION: Duration = Duration::from_millis(100);

#[tokio::test]
async fn repository_clock_agrees_with_the_redis_clock_within_100_ms() {
    let server = TestRedis::start().await;
    let (repository, redis) = (connect(server.url()).await, server.client().await);
    let time = fred::types::CustomCommand::new_static("TIME", None::<u16>, false);
    let before = repository.now() - CLOCK_CORRECTION;
    let (seconds, micros): (i64, i64) = redis.custom(time, Vec::<String>::new()).await.unwrap();
    let after = repository.now() + CLOCK_CORRECTION;
    let redis_time = OffsetDateTime::UNIX_EPOCH
        + time::Duration::seconds(seconds)
        + time::Duration::microseconds(micros);
    assert!((before..=after).contains(&redis_time), "{redis_time}");
}

/// Delays each reply of Redis by 200 ms while three heartbeats read the time of Redis. A reply that
/// arrives late contains an old time, which must not set the clock of the repository back.
#[tokio::test]
async fn clock_of_the_repository_is_not_set_back_if_redis_replies_slowly() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let repository = connect(&format!("redis://{}/0", proxy.address())).await;
    proxy.set(Fault::Delay(Duration::from_millis(200)));
    let heartbeats = async || {
        let statistics = redis.command(&["INFO", "commandstats"]).await;
        let statistics = statistics.as_string().unwrap();
        let of_time = statistics.split("cmdstat_time:calls=").nth(1);
        let calls = of_time.and_then(|text| text.split(',').next()?.parse::<u32>().ok());
        calls.unwrap_or(0)
    };
    let (started, before, known) = (Instant::now(), repository.now(), heartbeats().await);
    // Heartbeats are sent one after the other, so the third heartbeat shows that two slow replies
    // have arrived.
    eventually(3 * RECOVERED_WITHIN, async || {
        let passed = repository.now() - before + CLOCK_CORRECTION;
        assert!(passed >= started.elapsed(), "{passed}");
        heartbeats().await >= known + 3
    })
    .await;
}

#[tokio::test]
async fn repository_connects_as_soon_as_redis_accepts_the_password_and_never_logs_the_password() {
    let logs = CapturedLogs::start();
    let redis = RedisProcess::start().await;
    let admin = redis.client().await;
    let url = format!("redis://:s3cret-pass@127.0.0.1:{}/0", redis.port());
    let config = |value: &'static str| {
        let command = fred::types::CustomCommand::new_static("CONFIG", None::<u16>, false);
        admin.custom::<(), _>(command, vec!["SET", "requirepass", value])
    };
    config("another-pass").await.unwrap();
    let repository = RedisRepository::connect(&settings(&url));
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

/// Removes the expiry of a plain record, so that `get` needs several round trips. All round trips
/// of the call share one command timeout.
#[tokio::test]
async fn get_with_several_round_trips_to_a_paused_redis_fails_within_600_ms() {
    let redis = RedisProcess::start().await;
    let settings = plain_settings(&redis.url()).with_command_timeout(Duration::from_millis(300));
    let sessions = sessions_with(&settings).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.command(&["PERSIST", &plain_key(&new.token)]).await;
    redis.command(&["CLIENT", "PAUSE", "200", "ALL"]).await;
    sessions.get(&new.token).await.unwrap();
    redis.command(&["CLIENT", "PAUSE", "1000", "ALL"]).await;
    let started = Instant::now();
    assert!(is_unavailable(sessions.get(&new.token).await));
    let took = started.elapsed();
    assert!(took < Duration::from_millis(600), "{took:?}");
}
