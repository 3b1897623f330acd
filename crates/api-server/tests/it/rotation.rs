//! Tests of token rotation, which replaces the token of a session with a new token.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::Value;
use tee_session_domain::{SessionToken, TokenFormat, contract::repeat_if_late};
use tee_session_test_support::TestRedis;
use tokio::time::{Duration, sleep};

use crate::test_app::{Store, TestApp, assert_problem, build_valid_body, get_etag, parse_time};

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn rotation_returns_a_new_token_and_invalidates_the_old_token(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let old = app.log_in().await;
    let before: Value = app.get_session(&old).await.json().await.unwrap();

    let response = app.rotate(&old).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(!response.headers().contains_key("location"));
    let tag = get_etag(&response);
    let rotated: Value = response.json().await.unwrap();
    assert_problem(app.get_session(&old).await, 401, "invalid_token").await;
    assert_problem(app.rotate(&old).await, 401, "invalid_token").await;

    let new = rotated["access_token"].as_str().unwrap();
    assert_ne!(new, old);
    assert_eq!(rotated["token_type"], "Bearer");
    assert_eq!(rotated["expires_in"], 1_800);
    assert!(parse_time(&rotated["expires_at"]) > parse_time(&before["expires_at"]));
    assert_ne!(rotated["session_id"], before["session_id"]);

    let shown = app.get_session(new).await;
    assert_eq!(get_etag(&shown), tag);
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(shown["session_id"], rotated["session_id"]);
    for kept in ["cookies", "base_url", "created_at"] {
        assert_eq!(shown[kept], before[kept]);
    }
    assert_eq!(app.log_out(new).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn rotation_does_not_extend_the_absolute_lifetime() {
    repeat_if_late(Duration::from_millis(900), async |pace| {
        let app = TestApp::builder()
            .policy(60, Some(pace.seconds(2)))
            .spawn(Store::Memory)
            .await;
        let created: Value = app
            .post_session(&build_valid_body())
            .await
            .json()
            .await
            .unwrap();
        pace.wait(Duration::from_millis(1_100), sleep).await;
        let old = created["access_token"].as_str().unwrap();
        let rotated: Value = app.rotate(old).await.json().await.unwrap();
        assert_eq!(rotated["expires_at"], created["expires_at"]);
        assert!(rotated["expires_in"].as_u64().unwrap() < pace.seconds(1));
        pace.wait(Duration::from_millis(1_000), sleep).await;
        let new = rotated["access_token"].as_str().unwrap();
        assert_problem(app.get_session(new).await, 401, "invalid_token").await;
    })
    .await;
}

#[tokio::test]
async fn exactly_one_of_10_concurrent_rotations_of_the_same_token_succeeds() {
    // With the embedded store, no other request runs between the load and the change.
    let app = TestApp::spawn(Store::Redis).await;
    let old = app.log_in().await;
    let mut new = Vec::new();
    for response in join_all((0..10).map(|_| app.rotate(&old))).await {
        if response.status() == StatusCode::OK {
            let rotated: Value = response.json().await.unwrap();
            new.push(rotated["access_token"].as_str().unwrap().to_owned());
        } else {
            assert_problem(response, 401, "invalid_token").await;
        }
    }
    let [new] = &new[..] else {
        panic!("{} succeeded", new.len());
    };
    assert_eq!(app.get_session(new).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn rotation_invalidates_the_old_token_on_another_instance_at_once() {
    let redis = TestRedis::start().await;
    let one = TestApp::builder().spawn_on_redis(redis.url());
    let other = TestApp::builder()
        .with(|settings| settings.token_format = TokenFormat::Opaque)
        .spawn_on_redis(redis.url());
    one.until_ready().await;
    other.until_ready().await;
    for _ in 0..10 {
        let old = one.log_in().await;
        assert_eq!(other.get_session(&old).await.status(), StatusCode::OK);
        let rotated: Value = other.rotate(&old).await.json().await.unwrap();
        assert_problem(one.get_session(&old).await, 401, "invalid_token").await;
        let new = rotated["access_token"].as_str().unwrap();
        assert_eq!(new.len(), 43);
        assert_eq!(one.get_session(new).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn rotation_with_an_invalid_or_missing_token_returns_401() {
    let app = TestApp::spawn(Store::Memory).await;
    let unknown = SessionToken::generate();
    for token in [unknown.expose_secret(), "x"] {
        assert_problem(app.rotate(token).await, 401, "invalid_token").await;
    }
    let without = app.request(Method::POST, "/v1/session/rotate").send().await;
    assert_problem(without.unwrap(), 401, "missing_token").await;
}

#[rstest]
#[case::json("application/json", "{\"x\": 1}")]
#[case::empty_content_type("", "x")]
#[tokio::test]
async fn rotation_ignores_the_request_body(#[case] content_type: &str, #[case] body: &'static str) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.request(Method::POST, "/v1/session/rotate");
    let request = request
        .bearer_auth(token)
        .header("content-type", content_type);
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
