//! Tests of the near cache in the running binary. The near cache keeps copies of sessions in the
//! memory of an instance. The tests cover a logout on another instance, and settings that cannot be
//! combined with a near cache.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually};

use crate::service::{self, Service, binary};

const SOON: Duration = Duration::from_secs(5);

async fn start_instance(url: &str, flags: &[&str]) -> Service {
    let common = [
        "--redis-url",
        url,
        "--near-cache",
        "true",
        "--session-touch-interval",
        "60",
        "--metrics-port",
        "0",
    ];
    let service = service::start(&[&common, flags].concat()).await;
    service.until_ready(SOON).await;
    service
}

/// Returns the number of look-ups in the near cache of `service` that had the outcome `outcome`,
/// such as `hit`. The near cache contains copies of sessions in memory. The number comes from the
/// metrics of `service`.
async fn count_lookups(service: &Service, outcome: &str) -> u64 {
    let started = &service.events("Starting up")[0];
    let address = started["metrics_address"].as_str().unwrap();
    let metrics = service.client.get(format!("http://{address}/metrics"));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let name = format!("tee_session_near_cache_lookups_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn logout_removes_the_session_from_the_near_cache_of_another_instance() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let one = start_instance(&url, &[]).await;
    let other = start_instance(&url, &[]).await;
    let token = one.log_in("a1b2c3").await;
    eventually(SOON, async || {
        let status = other.status(Method::GET, "/v1/session", &token).await;
        assert_eq!(status, StatusCode::OK);
        count_lookups(&other, "hit").await > 10
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

/// Requests for a session that the near cache does not contain share one read of Redis. If this
/// read times out, the requests end within twice the command timeout.
#[rstest]
#[tokio::test]
async fn requests_that_share_a_read_of_a_stalled_redis_end_within_twice_the_command_timeout(
    #[values("/v1/session", "/v1/authorize")] path: &str,
) {
    const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
    // The limit contains a reserve for a busy machine. Four consecutive reads would exceed the
    // limit.
    const LIMIT: Duration = Duration::from_secs(3);
    let redis = RedisProcess::start().await;
    let timeout = COMMAND_TIMEOUT.as_millis().to_string();
    let flags = [
        "--redis-command-timeout-ms",
        &timeout,
        "--near-cache-max-stale-ms",
        "60000",
    ];
    let service = start_instance(&redis.url(), &flags).await;
    let token = service.log_in("a1b2c3").await;
    redis.pause();
    let requests = (0..40).map(async |_| {
        let began = Instant::now();
        (
            service.status(Method::GET, path, &token).await,
            began.elapsed(),
        )
    });
    for (status, elapsed) in join_all(requests).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(elapsed < LIMIT, "{elapsed:?}");
    }
}

/// Runs the binary with `--near-cache true` and `flags` until the process exits. Returns the exit
/// code and the text on standard error.
async fn run_until_exit(flags: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command.args(["--api-port", "0", "--near-cache", "true"]);
    let output = command.args(flags).output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr)
}

#[rstest]
#[case::no_touch_interval(
    &["--redis-url", "redis://127.0.0.1:6379/0"],
    "near_cache requires a session_touch_interval above 0"
)]
#[case::embedded_store(&["--session-touch-interval", "60"], "near_cache requires redis_url")]
#[case::cluster(
    &["--redis-url", "redis-cluster://127.0.0.1:7000", "--session-touch-interval", "60"],
    "the invalidation feed is not available in a cluster"
)]
#[tokio::test]
async fn service_with_near_cache_and_incompatible_settings_exits_with_2(
    #[case] flags: &[&str],
    #[case] reason: &str,
) {
    let (code, stderr) = run_until_exit(flags).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains(reason), "{stderr}");
}

#[tokio::test]
async fn service_with_near_cache_exits_with_1_if_redis_denies_the_command_client_tracking() {
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
    let (code, stderr) = run_until_exit(&flags).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("client|tracking"), "{stderr}");
}
