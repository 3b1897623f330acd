//! `/health` and its parts, in good times and bad.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::Value;
use tee_session_domain::SessionId;
use tee_session_test_support::{RedisProcess, eventually};

use crate::test_app::{Store, TestApp, assert_problem, valid_body};

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

/// Well below the time that a command may take: nobody waited for Redis.
const WITHOUT_REDIS: Duration = Duration::from_millis(300);

async fn health(app: &TestApp) -> Value {
    let asked = Instant::now();
    let response = app.get("/health").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(asked.elapsed() < WITHOUT_REDIS, "{:?}", asked.elapsed());
    response.json().await.unwrap()
}

async fn ready(app: &TestApp) -> StatusCode {
    app.get("/health/ready").await.status()
}

#[tokio::test]
async fn the_embedded_store_is_healthy_and_no_redis() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = health(&app).await;
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["redis_connected"], false);
    assert_eq!(body["store"], "memory");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(app.get("/health/live").await.status(), StatusCode::OK);
    assert_eq!(ready(&app).await, StatusCode::OK);
}

#[tokio::test]
async fn health_check_reports_redis_connectivity_status() {
    let app = TestApp::spawn(Store::Redis).await;
    let body = health(&app).await;
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["redis_connected"], true);
    assert_eq!(body["store"], "redis");
}

#[tokio::test]
async fn starts_without_redis_and_becomes_ready_when_it_is_there() {
    let mut redis = RedisProcess::start().await;
    redis.kill().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    assert_eq!(app.get("/health/live").await.status(), StatusCode::OK);
    assert_eq!(ready(&app).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health(&app).await["status"], "degraded");
    let response = app.post_session(&valid_body()).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_problem(response, 503, "store_unavailable").await;
    redis.start_again().await;
    eventually(RECOVERED_WITHIN, async || {
        ready(&app).await == StatusCode::OK
    })
    .await;
    app.log_in().await;
}

#[rstest]
#[case::killed(true)]
#[case::paused(false)]
#[tokio::test]
async fn an_outage_is_503_in_time_and_degraded_and_heals_by_itself(#[case] is_killed: bool) {
    let mut redis = RedisProcess::start_with(&["--appendonly", "yes"]).await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    if is_killed {
        redis.kill().await;
    } else {
        redis.pause();
    }
    // Past the moment at which the first client is given up.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        let responses = [
            app.get_session(&token).await,
            app.get_ttl(&token).await,
            app.log_out(&token).await,
            app.post_session(&valid_body()).await,
        ];
        assert!(
            asked.elapsed() < Duration::from_secs(4),
            "{:?}",
            asked.elapsed()
        );
        for response in responses {
            assert_eq!(response.headers()["retry-after"], "1");
            assert!(!response.headers().contains_key("www-authenticate"));
            assert_problem(response, 503, "store_unavailable").await;
        }
        let body = health(&app).await;
        assert_eq!(body["status"], "degraded");
        assert_eq!(body["redis_connected"], false);
        assert_eq!(app.get("/health/live").await.status(), StatusCode::OK);
        assert_eq!(ready(&app).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    if is_killed {
        redis.start_again().await;
    } else {
        redis.resume();
    }
    eventually(RECOVERED_WITHIN, async || {
        ready(&app).await == StatusCode::OK
    })
    .await;
    // A log-out that timed out may have been carried out: unknown is what 503 says.
    let status = app.get_session(&token).await.status();
    assert!(
        matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED),
        "{status}"
    );
    let token = app.log_in().await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(health(&app).await["status"], "healthy");
}

#[rstest]
#[case::get(Method::GET, "/v1/session")]
#[case::ttl(Method::GET, "/v1/session/ttl")]
#[case::delete(Method::DELETE, "/v1/session")]
#[tokio::test]
async fn each_answer_of_an_outage_comes_within_a_second(
    #[case] method: Method,
    #[case] path: &str,
) {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    redis.pause();
    let asked = Instant::now();
    let response = app
        .request(method, path)
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    assert_problem(response, 503, "store_unavailable").await;
    redis.resume();
}

#[tokio::test]
async fn readiness_can_leave_the_store_out_once_it_was_there() {
    let mut redis = RedisProcess::start().await;
    let app = TestApp::builder()
        .with(|settings| settings.readiness_requires_store = false)
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    redis.kill().await;
    eventually(RECOVERED_WITHIN, async || {
        health(&app).await["status"] == "degraded"
    })
    .await;
    assert_eq!(ready(&app).await, StatusCode::OK);
}

#[tokio::test]
async fn a_full_redis_is_503_store_full_for_new_sessions_only() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let response = app.post_session(&valid_body()).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_problem(response, 503, "store_full").await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(app.log_out(&token).await.status(), StatusCode::NO_CONTENT);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    app.log_in().await;
}

/// As while a roll-out is taken back: the session is alive for others, and the store is fine.
#[tokio::test]
async fn a_record_of_a_newer_release_is_503_for_its_session_and_nothing_else() {
    use fred::{interfaces::KeysInterface, types::Expiration};

    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let (token, another) = (app.log_in().await, app.log_in().await);
    let key = format!("session:{}", SessionId::of(&token.parse().unwrap()));
    let client = redis.client().await;
    let mut record: Vec<u8> = client.get(&key).await.unwrap();
    record[2] += 1;
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
        assert_eq!(health(&app).await["status"], "healthy");
        assert_eq!(ready(&app).await, StatusCode::OK);
    }
    assert_eq!(app.get_session(&another).await.status(), StatusCode::OK);
    assert_eq!(client.get::<Vec<u8>, _>(&key).await.unwrap(), record);
}
