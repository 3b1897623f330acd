//! The Redis adapter against a real Redis.
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
mod diagnosis;
mod diagnosis_of_connections;
mod diagnosis_of_many;
mod faults;
mod fleets;
mod history;
mod invalidation_feed;
mod lifecycle;
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

fn settings(url: &str) -> RedisSettings {
    RedisSettings::new(url).expect("a Redis URL")
}

fn plain(url: &str) -> RedisSettings {
    settings(url).with_storage_format(StorageFormat::Plain)
}

/// A repository that has connected.
async fn connected(url: &str) -> RedisRepository {
    connected_with(&settings(url)).await
}

async fn connected_with(settings: &RedisSettings) -> RedisRepository {
    let repository = RedisRepository::connect(settings);
    repository
        .wait_until_connected(CONNECTED_WITHIN)
        .await
        .expect("Redis answers");
    repository
}

type Sessions = SessionManager<RedisRepository>;

async fn sessions(url: &str) -> Sessions {
    sessions_with(&settings(url)).await
}

async fn plain_sessions(url: &str) -> Sessions {
    sessions_with(&plain(url)).await
}

async fn sessions_with(settings: &RedisSettings) -> Sessions {
    SessionManager::new(connected_with(settings).await, SessionPolicy::default())
}

fn cookies() -> Cookies {
    Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).expect("sound cookies")
}

fn base_url() -> BaseUrl {
    BaseUrl::new("https://golf.example/members").expect("a sound URL")
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

/// Each way of asking says "corrupt".
async fn assert_corrupt_everywhere(sessions: &Sessions, token: &SessionToken) {
    assert!(is_corrupt(sessions.get(token).await));
    assert!(is_corrupt(sessions.exists(token).await));
    assert!(is_corrupt(sessions.ttl(token).await));
    assert!(is_corrupt(sessions.delete(token).await));
}

/// The key has just been given the default idle timeout, on however slow a machine.
async fn assert_full_window(redis: &Client, key: &str) {
    let ttl: i64 = redis.ttl(key).await.unwrap();
    assert!((1_780..=1_800).contains(&ttl), "{ttl}");
}
