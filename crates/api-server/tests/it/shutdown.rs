//! Stopping.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tee_session_test_support::{RedisProcess, eventually};
use tokio::io::AsyncWriteExt;

use crate::test_app::{Store, TestApp};

#[tokio::test]
async fn stops_at_once_when_idle_and_takes_no_connection_any_more() {
    let app = TestApp::spawn(Store::Redis).await;
    let address = app.address;
    let asked = Instant::now();
    app.stopped().await;
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn serves_during_the_delay_although_not_ready_any_more() {
    let mut app = TestApp::builder()
        .with(|settings| settings.shutdown_delay = Duration::from_secs(1))
        .spawn(Store::Redis)
        .await;
    let token = app.log_in().await;
    let asked = Instant::now();
    app.ask_to_stop();
    eventually(Duration::from_millis(500), async || {
        app.get("/health/ready").await.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(app.get("/health/live").await.status(), StatusCode::OK);
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    app.stopped().await;
    assert!(
        asked.elapsed() >= Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test]
async fn a_request_in_flight_is_answered() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    // Held up long enough to be in flight when the stop is asked for.
    redis.pause();
    let request = tokio::spawn({
        let request = app.client.get(format!("http://{}/v1/session", app.address));
        request.bearer_auth(&token).send()
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let stopped = tokio::spawn(app.stopped());
    tokio::time::sleep(Duration::from_millis(100)).await;
    redis.resume();
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    stopped.await.unwrap();
}

#[tokio::test]
async fn stops_within_its_bound_when_redis_hangs() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder()
        .with(|settings| settings.shutdown_timeout = Duration::from_secs(5))
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    redis.pause();
    let asked = Instant::now();
    app.stopped().await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    redis.resume();
}

#[tokio::test]
async fn leaves_redis_cleanly() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    assert_eq!(
        redis.client_count().await,
        2,
        "one connection for each worker"
    );
    app.stopped().await;
    assert_eq!(redis.client_count().await, 0);
}

#[tokio::test]
async fn a_body_that_never_ends_does_not_hold_it_up_beyond_its_bound() {
    let app = TestApp::builder()
        .with(|settings| settings.shutdown_timeout = Duration::from_secs(2))
        .spawn(Store::Memory)
        .await;
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let mut slow = tokio::net::TcpStream::connect(app.address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    app.stopped().await;
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test]
async fn a_connection_that_comes_while_it_stops_is_refused_at_once() {
    let redis = RedisProcess::start().await;
    let mut app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    // A request in flight keeps the stop waiting.
    redis.pause();
    let request = app.client.get(format!("http://{}/v1/session", app.address));
    let request = tokio::spawn(request.bearer_auth(&token).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.ask_to_stop();
    let address = app.address;
    eventually(Duration::from_millis(300), async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    redis.resume();
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    app.stopped().await;
}
