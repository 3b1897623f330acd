//! Tests of instances that share one Redis but have different settings, as during the roll-out of a
//! new setting.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually};

use crate::service::{self, Service};

const SOON: Duration = Duration::from_secs(10);

async fn start_instance(redis: &RedisProcess, flags: &[&str]) -> Service {
    let url = redis.url();
    let service = service::start(&[&["--redis-url", &url], flags].concat()).await;
    service.until_ready(SOON).await;
    service
}

async fn get_session(service: &Service, token: &str) -> StatusCode {
    service.status(Method::GET, "/v1/session", token).await
}

/// Returns the TTL of the only session in `redis`, in seconds.
async fn read_remaining_ttl(redis: &RedisProcess) -> i64 {
    let keys = redis.command(&["KEYS", "session:*"]).await;
    let [key] = &keys.into_array()[..] else {
        panic!("one session");
    };
    let ttl = redis.command(&["TTL", &key.as_str().unwrap()]).await;
    ttl.as_i64().unwrap()
}

#[tokio::test]
async fn uuid_and_opaque_tokens_are_accepted_regardless_of_the_token_format_setting() {
    let redis = RedisProcess::start().await;
    let uuid = start_instance(&redis, &["--token-format", "uuid"]).await;
    let opaque = start_instance(&redis, &["--token-format", "opaque"]).await;
    let tokens = [uuid.log_in("a1b2c3").await, opaque.log_in("a1b2c3").await];
    assert_eq!(tokens.each_ref().map(String::len), [36, 43]);
    for token in &tokens {
        for instance in [&uuid, &opaque] {
            assert_eq!(get_session(instance, token).await, StatusCode::OK);
        }
    }
}

#[rstest]
#[case::sealed("sealed")]
#[case::plain("plain")]
#[tokio::test]
async fn instance_with_absolute_lifetime_also_ends_sessions_of_instances_without_this_setting(
    #[case] format: &str,
) {
    let redis = RedisProcess::start().await;
    let format = ["--storage-format", format];
    let without = start_instance(&redis, &format).await;
    let with = start_instance(
        &redis,
        &[&format[..], &["--session-max-lifetime", "2"]].concat(),
    )
    .await;
    let token = without.log_in("a1b2c3").await;
    eventually(SOON, async || {
        get_session(&with, &token).await == StatusCode::UNAUTHORIZED
    })
    .await;
    // The session has been removed from Redis, so the instance without an absolute lifetime does
    // not find the session either.
    assert_eq!(
        get_session(&without, &token).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn session_created_with_an_absolute_lifetime_expires_on_instances_without_this_setting() {
    let redis = RedisProcess::start().await;
    let without = start_instance(&redis, &[]).await;
    let with = start_instance(&redis, &["--session-max-lifetime", "8"]).await;
    let token = with.log_in("a1b2c3").await;
    assert_eq!(get_session(&without, &token).await, StatusCode::OK);
    eventually(Duration::from_secs(30), async || {
        get_session(&without, &token).await == StatusCode::UNAUTHORIZED
    })
    .await;
}

#[tokio::test]
async fn instance_that_renews_the_ttl_on_every_access_sets_the_ttl_to_the_idle_timeout() {
    let redis = RedisProcess::start().await;
    let touching = start_instance(&redis, &["--session-touch-interval", "60"]).await;
    let sliding = start_instance(&redis, &[]).await;
    let token = touching.log_in("a1b2c3").await;
    let with_interval = 1_800 + 60;
    assert!(read_remaining_ttl(&redis).await > with_interval - 10);
    assert_eq!(get_session(&sliding, &token).await, StatusCode::OK);
    assert!((1_790..=1_800).contains(&read_remaining_ttl(&redis).await));
}
