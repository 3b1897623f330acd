//! Instances on one Redis whose settings differ, as while a change is being rolled out.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually};

use crate::service::{self, Service};

const SOON: Duration = Duration::from_secs(10);

async fn start(redis: &RedisProcess, flags: &[&str]) -> Service {
    let url = redis.url();
    let service = service::start(&[&["--redis-url", &url], flags].concat()).await;
    service.until_ready(SOON).await;
    service
}

async fn get(service: &Service, token: &str) -> StatusCode {
    service.status(Method::GET, "/v1/session", token).await
}

/// Seconds that the only key of this Redis has left.
async fn remaining(redis: &RedisProcess) -> i64 {
    let keys = redis.command(&["KEYS", "session:*"]).await;
    let [key] = &keys.into_array()[..] else {
        panic!("one session");
    };
    let ttl = redis.command(&["TTL", &key.as_str().unwrap()]).await;
    ttl.as_i64().unwrap()
}

#[tokio::test]
async fn tokens_of_either_format_open_sessions_at_every_instance() {
    let redis = RedisProcess::start().await;
    let uuid = start(&redis, &["--token-format", "uuid"]).await;
    let opaque = start(&redis, &["--token-format", "opaque"]).await;
    let tokens = [uuid.log_in("a1b2c3").await, opaque.log_in("a1b2c3").await];
    assert_eq!(tokens.each_ref().map(String::len), [36, 43]);
    for token in &tokens {
        for instance in [&uuid, &opaque] {
            assert_eq!(get(instance, token).await, StatusCode::OK);
        }
    }
}

#[rstest]
#[case::sealed("sealed")]
#[case::plain("plain")]
#[tokio::test]
async fn an_absolute_lifetime_that_is_new_ends_sessions_that_are_older(#[case] format: &str) {
    let redis = RedisProcess::start().await;
    let format = ["--storage-format", format];
    let without = start(&redis, &format).await;
    let with = start(
        &redis,
        &[&format[..], &["--session-max-lifetime", "2"]].concat(),
    )
    .await;
    let token = without.log_in("a1b2c3").await;
    eventually(SOON, async || {
        get(&with, &token).await == StatusCode::UNAUTHORIZED
    })
    .await;
    // Removed, not only hidden.
    assert_eq!(get(&without, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_sealed_session_keeps_its_absolute_end_where_none_is_set_any_more() {
    let redis = RedisProcess::start().await;
    let without = start(&redis, &[]).await;
    let with = start(&redis, &["--session-max-lifetime", "8"]).await;
    let token = with.log_in("a1b2c3").await;
    assert_eq!(get(&without, &token).await, StatusCode::OK);
    eventually(Duration::from_secs(30), async || {
        get(&without, &token).await == StatusCode::UNAUTHORIZED
    })
    .await;
}

#[tokio::test]
async fn an_access_where_every_one_slides_takes_back_what_a_touch_interval_added() {
    let redis = RedisProcess::start().await;
    let touching = start(&redis, &["--session-touch-interval", "60"]).await;
    let sliding = start(&redis, &[]).await;
    let token = touching.log_in("a1b2c3").await;
    let with_interval = 1_800 + 60;
    assert!(remaining(&redis).await > with_interval - 10);
    assert_eq!(get(&sliding, &token).await, StatusCode::OK);
    assert!((1_790..=1_800).contains(&remaining(&redis).await));
}
