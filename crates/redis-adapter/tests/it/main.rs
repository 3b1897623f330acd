//! Tests of the Redis adapter: sessions, subject index, invalidation feed and diagnosis. Most tests
//! start real Redis servers.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod breaker;
mod cluster;
mod cluster_slots;
mod coalescing;
mod contract;
mod corrupt_index;
mod diagnosis;
mod diagnosis_of_connections;
mod diagnosis_of_many;
mod faults;
mod fleets;
mod history;
mod idempotency;
mod invalidation_feed;
mod lifecycle;
mod merges;
mod migration;
mod modes;
mod network_faults;
mod old_records;
mod plain_records;
mod python;
mod revocations;
mod rotation;
mod scripted_server;
mod sealed_records;
mod sentinel;
mod session_manager;
mod subjects;
mod tls;
mod updates;
mod url_file;

use std::time::Duration;

use fred::{clients::Client, interfaces::KeysInterface};
use tee_session_domain::{
    BaseUrl, Cookies, RepositoryError, SessionError, SessionId, SessionManager, SessionPolicy,
    SessionToken,
};
use tee_session_redis_adapter::{RedisRepository, RedisSettings, StorageFormat};

const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// Command timeout for calls that must succeed. On a busy machine, a reply may take longer than the
/// default of 500 ms.
const LONG_COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

fn settings(url: &str) -> RedisSettings {
    let settings = RedisSettings::new(url).expect("a Redis URL");
    settings.with_command_timeout(LONG_COMMAND_TIMEOUT)
}

fn plain_settings(url: &str) -> RedisSettings {
    settings(url).with_storage_format(StorageFormat::Plain)
}

/// Creates a repository for the Redis at `url` and waits until the repository is connected.
async fn connect(url: &str) -> RedisRepository {
    connect_with(&settings(url)).await
}

/// Creates a repository with `settings` and waits until the repository is connected.
async fn connect_with(settings: &RedisSettings) -> RedisRepository {
    let repository = RedisRepository::connect(settings);
    repository
        .wait_until_connected(CONNECTED_WITHIN)
        .await
        .expect("a connection to Redis");
    repository
}

type Sessions = SessionManager<RedisRepository>;

async fn sessions(url: &str) -> Sessions {
    sessions_with(&settings(url)).await
}

async fn plain_sessions(url: &str) -> Sessions {
    sessions_with(&plain_settings(url)).await
}

async fn sessions_with(settings: &RedisSettings) -> Sessions {
    SessionManager::new(connect_with(settings).await, SessionPolicy::default())
}

fn cookies() -> Cookies {
    Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).expect("valid cookies")
}

fn base_url() -> BaseUrl {
    BaseUrl::new("https://golf.example/members").expect("a valid URL")
}

fn plain_key(token: &SessionToken) -> String {
    format!("session:{}", token.expose_secret())
}

fn sealed_key(token: &SessionToken) -> String {
    format!("session:{}", SessionId::of(token))
}

fn is_corrupt<T: std::fmt::Debug>(result: Result<T, SessionError>) -> bool {
    matches!(
        result,
        Err(SessionError::Repository(RepositoryError::Corrupt { .. }))
    )
}

/// Asserts that `get`, `exists`, `ttl` and `delete` of the session fail with the error `Corrupt`.
async fn assert_corrupt_everywhere(sessions: &Sessions, token: &SessionToken) {
    assert!(is_corrupt(sessions.get(token).await));
    assert!(is_corrupt(sessions.exists(token).await));
    assert!(is_corrupt(sessions.ttl(token).await));
    assert!(is_corrupt(sessions.delete(token).await));
}

/// Asserts that the remaining TTL of the Redis key `key` is between 1780 s and 1800 s. The default
/// idle timeout is 1800 s, and a slow machine may need up to 20 s between write and check.
async fn assert_full_idle_timeout(redis: &Client, key: &str) {
    let ttl: i64 = redis.ttl(key).await.unwrap();
    assert!((1_780..=1_800).contains(&ttl), "{ttl}");
}
