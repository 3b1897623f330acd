//! The Redis adapter against a real Redis.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod contract;
mod faults;
mod lifecycle;
mod python;
mod records;
mod session_manager;

use std::time::Duration;

use fred::{clients::Client, interfaces::KeysInterface};
use tee_session_domain::{BaseUrl, Cookies, SessionManager, SessionPolicy, SessionToken};
use tee_session_redis_adapter::{RedisRepository, RedisSettings};

const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

fn settings(url: &str) -> RedisSettings {
    RedisSettings::new(url).expect("a Redis URL")
}

/// A repository that has connected.
async fn connected(url: &str) -> RedisRepository {
    let repository = RedisRepository::connect(&settings(url));
    repository
        .wait_until_connected(CONNECTED_WITHIN)
        .await
        .expect("Redis answers");
    repository
}

async fn sessions(url: &str) -> SessionManager<RedisRepository> {
    SessionManager::new(connected(url).await, SessionPolicy::default())
}

fn cookies() -> Cookies {
    Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).expect("sound cookies")
}

fn base_url() -> BaseUrl {
    BaseUrl::new("https://golf.example/members").expect("a sound URL")
}

fn key(token: &SessionToken) -> String {
    format!("session:{}", token.expose_secret())
}

async fn ttl(redis: &Client, token: &SessionToken) -> i64 {
    redis.ttl(key(token)).await.unwrap()
}
