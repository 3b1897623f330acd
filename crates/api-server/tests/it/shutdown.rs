//! Tests of the graceful shutdown: readiness, requests in flight, and time limits.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tee_session_test_support::{RedisProcess, eventually};
use tokio::io::AsyncWriteExt;

use crate::test_app::{Store, TestApp};

#[tokio::test]
async fn idle_server_stops_at_once_on_shutdown_and_refuses_new_connections() {
    let app = TestApp::spawn(Store::Redis).await;
    let address = app.address;
    let started = Instant::now();
    app.shut_down().await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn server_reports_not_ready_but_serves_requests_during_the_shutdown_delay() {
    let mut app = TestApp::builder()
        .with(|settings| settings.shutdown_delay = Duration::from_secs(1))
        .spawn(Store::Redis)
        .await;
    let token = app.log_in().await;
    let started = Instant::now();
    app.trigger_shutdown();
    eventually(Duration::from_millis(500), async || {
        app.get("/health/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(app.get("/health/live").await.status(), StatusCode::OK);
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    app.shut_down().await;
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn request_in_flight_is_completed_during_shutdown() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    // While Redis is paused, the request stays in flight, so the shutdown begins during the
    // request.
    redis.pause();
    let request = tokio::spawn({
        let request = app.client.get(format!("http://{}/v1/session", app.address));
        request.bearer_auth(&token).send()
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let shutdown = tokio::spawn(app.shut_down());
    tokio::time::sleep(Duration::from_millis(100)).await;
    redis.resume();
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    shutdown.await.unwrap();
}

#[tokio::test]
async fn server_stops_within_the_shutdown_timeout_when_redis_hangs() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder()
        .with(|settings| settings.shutdown_timeout = Duration::from_secs(5))
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    redis.pause();
    let started = Instant::now();
    app.shut_down().await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    redis.resume();
}

#[tokio::test]
async fn shutdown_closes_the_redis_connections() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    assert_eq!(
        redis.client_count().await,
        2,
        "one connection for each worker"
    );
    app.shut_down().await;
    assert_eq!(redis.client_count().await, 0);
}

#[tokio::test]
async fn incomplete_request_body_does_not_delay_shutdown_beyond_the_shutdown_timeout() {
    let app = TestApp::builder()
        .with(|settings| settings.shutdown_timeout = Duration::from_secs(2))
        .spawn(Store::Memory)
        .await;
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let mut slow = tokio::net::TcpStream::connect(app.address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    app.shut_down().await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn new_connection_during_shutdown_is_refused_at_once() {
    let redis = RedisProcess::start().await;
    let mut app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    // The request in flight delays the end of the shutdown.
    redis.pause();
    let request = app.client.get(format!("http://{}/v1/session", app.address));
    let request = tokio::spawn(request.bearer_auth(&token).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.trigger_shutdown();
    let address = app.address;
    eventually(Duration::from_millis(300), async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    redis.resume();
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    app.shut_down().await;
}
