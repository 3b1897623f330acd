//! Two instances with near caches.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually};

use crate::service::{self, Service, binary};

const SOON: Duration = Duration::from_secs(5);

async fn start(url: &str) -> Service {
    let flags = [
        "--redis-url",
        url,
        "--near-cache",
        "true",
        "--session-touch-interval",
        "60",
        "--metrics-port",
        "0",
    ];
    let service = service::start(&flags).await;
    service.until_ready(SOON).await;
    service
}

/// The value of a counter of look-ups.
async fn lookups(service: &Service, outcome: &str) -> u64 {
    let started = &service.events("Starting up")[0];
    let address = started["metrics_address"].as_str().unwrap();
    let metrics = service.client.get(format!("http://{address}/metrics"));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let name = format!("tee_session_near_cache_lookups_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_logout_on_one_is_soon_a_401_on_the_other() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let (one, other) = (start(&url).await, start(&url).await);
    let token = one.log_in("a1b2c3").await;
    eventually(SOON, async || {
        let status = other.status(Method::GET, "/v1/session", &token).await;
        assert_eq!(status, StatusCode::OK);
        lookups(&other, "hit").await > 10
    })
    .await;
    let status = one.status(Method::DELETE, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let status = one.status(Method::GET, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    eventually(SOON, async || {
        let status = other.status(Method::GET, "/v1/session", &token).await;
        status == StatusCode::UNAUTHORIZED
    })
    .await;
}

/// Runs the binary with these flags until it ends; its exit code and what it said.
async fn refused(flags: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command.args(["--api-port", "0", "--near-cache", "true"]);
    let output = command.args(flags).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[rstest]
#[case::every_access_slides(
    &["--redis-url", "redis://127.0.0.1:6379/0"],
    "needs a session_touch_interval above 0"
)]
#[case::embedded_store(&["--session-touch-interval", "60"], "needs a redis_url")]
#[case::cluster(
    &["--redis-url", "redis-cluster://127.0.0.1:7000", "--session-touch-interval", "60"],
    "a cluster cannot tell of changes"
)]
#[tokio::test]
async fn settings_that_it_cannot_be_used_with_are_refused(
    #[case] flags: &[&str],
    #[case] reason: &str,
) {
    let (code, said) = refused(flags).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(reason), "{said}");
}

#[tokio::test]
async fn a_redis_that_refuses_to_tell_of_changes_ends_the_start() {
    let redis = RedisProcess::start().await;
    let user = [
        "ACL",
        "SETUSER",
        "near",
        "on",
        "nopass",
        "~*",
        "+@all",
        "-client|tracking",
    ];
    redis.command(&user).await;
    let url = format!("redis://near:any@127.0.0.1:{}/0", redis.port());
    let flags = ["--redis-url", &url, "--session-touch-interval", "60"];
    let (code, said) = refused(&flags).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("client|tracking"), "{said}");
}
