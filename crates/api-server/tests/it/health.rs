//! Tests of the health endpoints, with a running store and during an outage of Redis.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::Value;
use tee_session_domain::SessionId;
use tee_session_test_support::{RedisProcess, eventually};

use crate::test_app::{Store, TestApp, assert_problem, build_valid_body};

const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum duration of a request that does not wait for Redis. The duration is well below the
/// timeout of a Redis command.
const MAX_WITHOUT_REDIS: Duration = Duration::from_millis(300);

async fn get_health(app: &TestApp) -> Value {
    let started = Instant::now();
    let response = app.get("/health").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let elapsed = started.elapsed();
    assert!(elapsed < MAX_WITHOUT_REDIS, "{elapsed:?}");
    response.json().await.unwrap()
}

/// Sends `GET`, `HEAD` and `OPTIONS` to a probe path. Asserts that each response has the status
/// `status` and the body `{"status": state}`, or no body for `HEAD`.
async fn assert_probe(app: &TestApp, path: &str, status: StatusCode, state: &str) {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let response = app.request(method.clone(), path).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/json", "{method}");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(!headers.contains_key("retry-after"));
        let body = response.text().await.unwrap();
        let expected = match method {
            Method::HEAD => String::new(),
            _ => format!(r#"{{"status":"{state}"}}"#),
        };
        assert_eq!(body, expected, "{method}");
    }
}

async fn get_readiness(app: &TestApp) -> StatusCode {
    app.get("/health/ready").await.status()
}

#[tokio::test]
async fn health_reports_healthy_and_redis_not_connected_with_the_in_memory_store() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = get_health(&app).await;
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["redis_connected"], false);
    assert_eq!(body["store"], "memory");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_probe(&app, "/health/live", StatusCode::OK, "live").await;
    assert_probe(&app, "/health/ready", StatusCode::OK, "ready").await;
    for method in [Method::HEAD, Method::OPTIONS] {
        let response = app.request(method, "/health").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// Tests the response body for each state in which the instance is not ready.
#[tokio::test]
async fn readiness_body_names_the_state_starting_store_unavailable_or_draining() {
    const NOT_READY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    let mut redis = RedisProcess::start().await;
    redis.kill().await;
    let mut app = TestApp::builder()
        .with(|settings| settings.shutdown_delay = Duration::from_secs(2))
        .spawn_on_redis(&redis.url());
    assert_probe(&app, "/health/ready", NOT_READY, "starting").await;
    redis.start_again().await;
    app.until_ready().await;
    redis.kill().await;
    eventually(RECOVERY_TIMEOUT, async || {
        get_readiness(&app).await == NOT_READY
    })
    .await;
    assert_probe(&app, "/health/ready", NOT_READY, "store_unavailable").await;
    assert_probe(&app, "/health/live", StatusCode::OK, "live").await;
    redis.start_again().await;
    app.until_ready().await;
    app.trigger_shutdown();
    eventually(RECOVERY_TIMEOUT, async || {
        get_readiness(&app).await == NOT_READY
    })
    .await;
    assert_probe(&app, "/health/ready", NOT_READY, "draining").await;
}

#[tokio::test]
async fn health_reports_healthy_and_redis_connected_with_a_running_redis() {
    let app = TestApp::spawn(Store::Redis).await;
    let body = get_health(&app).await;
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["redis_connected"], true);
    assert_eq!(body["store"], "redis");
}

#[tokio::test]
async fn service_starts_without_redis_and_becomes_ready_once_redis_is_up() {
    let mut redis = RedisProcess::start().await;
    redis.kill().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    assert_eq!(app.get("/health/live").await.status(), StatusCode::OK);
    assert_eq!(get_readiness(&app).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get_health(&app).await["status"], "degraded");
    let response = app.post_session(&build_valid_body()).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_problem(response, 503, "store_unavailable").await;
    redis.start_again().await;
    eventually(RECOVERY_TIMEOUT, async || {
        get_readiness(&app).await == StatusCode::OK
    })
    .await;
    let response = app.post_session(&build_valid_body()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[rstest]
#[case::login("/v1/sessions", "the login has no token yet; repeat the request")]
#[case::rotation("/v1/session/rotate", "the session may still be alive")]
#[tokio::test]
async fn detail_of_a_503_says_that_a_login_has_no_token_yet_or_that_the_session_may_be_alive(
    #[case] path: &str,
    #[case] expected: &str,
    #[values(None, Some("a-key-of-this-request"))] idempotency_key: Option<&str>,
) {
    let mut redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    redis.kill().await;
    let mut request = app.request(Method::POST, path).bearer_auth(&token);
    if path == "/v1/sessions" {
        request = request.json(&build_valid_body());
    }
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let problem = assert_problem(response, 503, "store_unavailable").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(expected), "{detail}");
}

#[rstest]
#[case::killed(true)]
#[case::paused(false)]
#[tokio::test]
async fn requests_return_503_during_a_redis_outage_and_succeed_afterwards(#[case] is_killed: bool) {
    let mut redis = RedisProcess::start_with(&["--appendonly", "yes"]).await;
    let app = TestApp::builder()
        .default_timeouts()
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    if is_killed {
        redis.kill().await;
    } else {
        redis.pause();
    }
    // The outage lasts 4 s. During this time, the Redis adapter closes its connections, because two
    // heartbeats got no reply.
    let outage_start = Instant::now();
    while outage_start.elapsed() < Duration::from_secs(4) {
        let started = Instant::now();
        let responses = [
            app.get_session(&token).await,
            app.get_ttl(&token).await,
            app.log_out(&token).await,
            app.post_session(&build_valid_body()).await,
        ];
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{:?}",
            started.elapsed()
        );
        for response in responses {
            assert_eq!(response.headers()["retry-after"], "1");
            assert!(!response.headers().contains_key("www-authenticate"));
            assert_problem(response, 503, "store_unavailable").await;
        }
        let body = get_health(&app).await;
        assert_eq!(body["status"], "degraded");
        assert_eq!(body["redis_connected"], false);
        assert_eq!(app.get("/health/live").await.status(), StatusCode::OK);
        assert_eq!(get_readiness(&app).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    if is_killed {
        redis.start_again().await;
    } else {
        redis.resume();
    }
    eventually(RECOVERY_TIMEOUT, async || {
        get_readiness(&app).await == StatusCode::OK
    })
    .await;
    // Redis may have executed a logout that was answered with 503, so the session may have ended.
    let status = app.get_session(&token).await.status();
    assert!(
        matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED),
        "{status}"
    );
    let token = app.log_in().await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(get_health(&app).await["status"], "healthy");
}

#[rstest]
#[case::get(Method::GET, "/v1/session")]
#[case::ttl(Method::GET, "/v1/session/ttl")]
#[case::delete(Method::DELETE, "/v1/session")]
#[tokio::test]
async fn request_returns_503_after_the_redis_command_timeout_if_redis_hangs(
    #[case] method: Method,
    #[case] path: &str,
) {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder()
        .default_timeouts()
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    redis.pause();
    let started = Instant::now();
    let response = app
        .request(method, path)
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_problem(response, 503, "store_unavailable").await;
    redis.resume();
}

#[tokio::test]
async fn service_stays_ready_during_a_redis_outage_if_readiness_does_not_require_the_store() {
    let mut redis = RedisProcess::start().await;
    let app = TestApp::builder()
        .with(|settings| settings.readiness_requires_store = false)
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    redis.kill().await;
    eventually(RECOVERY_TIMEOUT, async || {
        get_health(&app).await["status"] == "degraded"
    })
    .await;
    assert_eq!(get_readiness(&app).await, StatusCode::OK);
}

#[tokio::test]
async fn full_redis_returns_503_store_full_for_new_sessions_only() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let response = app.post_session(&build_valid_body()).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_problem(response, 503, "store_full").await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(app.log_out(&token).await.status(), StatusCode::NO_CONTENT);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    app.log_in().await;
}

/// Stores a session record in the format of a newer release, as after a rollback. Requests for this
/// session return 503 and not 401, because instances of the newer release may still serve the
/// session. Requests for other sessions succeed.
#[tokio::test]
async fn session_stored_by_a_newer_release_returns_503_and_other_sessions_are_served() {
    use fred::{interfaces::KeysInterface, types::Expiration};

    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let (token, another) = (app.log_in().await, app.log_in().await);
    let key = format!("session:{}", SessionId::of(&token.parse().unwrap()));
    let client = redis.client().await;
    let mut record: Vec<u8> = client.get(&key).await.unwrap();
    record[2] = 3;
    let keep = Some(Expiration::KEEPTTL);
    client
        .set::<(), _, _>(&key, record.as_slice(), keep, None, false)
        .await
        .unwrap();
    for response in [
        app.get_session(&token).await,
        app.get_ttl(&token).await,
        app.log_out(&token).await,
    ] {
        assert_eq!(response.headers()["retry-after"], "1");
        assert_problem(response, 503, "store_unavailable").await;
        assert_eq!(get_health(&app).await["status"], "healthy");
        assert_eq!(get_readiness(&app).await, StatusCode::OK);
    }
    assert_eq!(app.get_session(&another).await.status(), StatusCode::OK);
    assert_eq!(client.get::<Vec<u8>, _>(&key).await.unwrap(), record);
}
