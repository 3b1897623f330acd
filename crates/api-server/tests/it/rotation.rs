//! A new token for a session.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::Value;
use tee_session_domain::{SessionToken, TokenFormat};
use tee_session_test_support::TestRedis;
use tokio::time::{Duration, sleep};

use crate::test_app::{Store, TestApp, assert_problem, etag, time_of, valid_body};

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn the_new_token_opens_the_session_and_the_old_one_is_dead(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let old = app.log_in().await;
    let before: Value = app.get_session(&old).await.json().await.unwrap();

    let response = app.rotate(&old).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(!response.headers().contains_key("location"));
    let tag = etag(&response);
    let rotated: Value = response.json().await.unwrap();
    assert_problem(app.get_session(&old).await, 401, "invalid_token").await;
    assert_problem(app.rotate(&old).await, 401, "invalid_token").await;

    let new = rotated["access_token"].as_str().unwrap();
    assert_ne!(new, old);
    assert_eq!(rotated["token_type"], "Bearer");
    assert_eq!(rotated["expires_in"], 1_800);
    assert!(time_of(&rotated["expires_at"]) > time_of(&before["expires_at"]));
    assert_ne!(rotated["session_id"], before["session_id"]);

    let shown = app.get_session(new).await;
    assert_eq!(etag(&shown), tag);
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(shown["session_id"], rotated["session_id"]);
    for kept in ["cookies", "base_url", "created_at"] {
        assert_eq!(shown[kept], before[kept]);
    }
    assert_eq!(app.log_out(new).await.status(), StatusCode::NO_CONTENT);
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn the_absolute_lifetime_goes_on(#[case] store: Store) {
    let app = TestApp::builder().policy(60, Some(2)).spawn(store).await;
    let created: Value = app.post_session(&valid_body()).await.json().await.unwrap();
    sleep(Duration::from_millis(1_100)).await;
    let old = created["access_token"].as_str().unwrap();
    let rotated: Value = app.rotate(old).await.json().await.unwrap();
    assert_eq!(rotated["expires_at"], created["expires_at"]);
    assert_eq!(rotated["expires_in"], 0);
    sleep(Duration::from_millis(1_000)).await;
    let new = rotated["access_token"].as_str().unwrap();
    assert_problem(app.get_session(new).await, 401, "invalid_token").await;
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn of_several_rotations_at_once_one_succeeds(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
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
async fn the_old_token_is_dead_on_another_instance_at_once() {
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
async fn a_token_that_opens_nothing_is_401() {
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
#[case::no_type("", "x")]
#[tokio::test]
async fn a_body_is_ignored(#[case] content_type: &str, #[case] body: &'static str) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.request(Method::POST, "/v1/session/rotate");
    let request = request
        .bearer_auth(token)
        .header("content-type", content_type);
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
