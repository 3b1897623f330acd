//! What gateways ask: forward auth.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_api_server::{InvalidTokenLimit, NearCacheSettings};
use tee_session_domain::RepositoryError;
use tee_session_test_support::RedisProcess;
use tokio::time::sleep;

use crate::{
    hooked_repository::HookedRepository,
    test_app::{Store, TestApp, assert_problem, valid_body},
};

const AUTHORIZE: &str = "/v1/authorize";

/// Much less than a client that sends a body slowly may take.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn authorize(app: &TestApp, token: &str) -> Response {
    let request = app.request(Method::GET, AUTHORIZE).bearer_auth(token);
    request.send().await.unwrap()
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_valid_token_is_200_with_the_session_in_fields_and_body_and_no_cookie(
    #[case] store: Store,
) {
    let app = TestApp::spawn(store).await;
    let token = app.log_in().await;
    let session: Value = app.get_session(&token).await.json().await.unwrap();
    let response = authorize(&app, &token).await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(
        headers["x-session-id"],
        session["session_id"].as_str().unwrap()
    );
    assert_eq!(
        headers["x-session-base-url"],
        "https://golf.example/members"
    );
    assert!(!headers.contains_key("x-session-subject"));
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    let expires_at = &body["extra"]["expires_at"];
    assert_eq!(
        headers["x-session-expires-at"],
        expires_at.as_str().unwrap()
    );
    assert_eq!(
        body,
        json!({
            "sub": session["session_id"],
            "extra": {
                "session_id": session["session_id"],
                "base_url": session["base_url"],
                "created_at": session["created_at"],
                "expires_at": expires_at,
            },
        })
    );
    let told = format!("{headers:?}{text}");
    for secret in [token.as_str(), "SESSIONID", "a1b2c3"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[rstest]
#[case::path(
    "https://b\u{fc}cher.example/\u{26f3}?x=\u{e4}",
    "https://xn--bcher-kva.example/%E2%9B%B3?x=%C3%A4"
)]
#[case::upper_case("HTTPS://Golf.Example", "https://golf.example/")]
#[tokio::test]
async fn the_base_url_is_given_in_ascii(#[case] given: &str, #[case] expected: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let mut login = valid_body();
    login["base_url"] = given.into();
    let created: Value = app.post_session(&login).await.json().await.unwrap();
    let response = authorize(&app, created["access_token"].as_str().unwrap()).await;
    assert_eq!(response.headers()["x-session-base-url"], expected);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["extra"]["base_url"], given);
}

#[tokio::test]
async fn every_method_and_every_path_below_are_answered_alike() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let paths = [
        "",
        "/",
        "/app",
        "/v1/session",
        "//x/../..;a/%2e%2e/%2f%00%0a%ff",
        "/app?page=2",
        "?page=2",
    ];
    for path in paths {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
        ] {
            let head = format!("{method} {AUTHORIZE}{path} HTTP/1.1\r\nHost: x\r\n");
            let ask = async |more: &str| {
                let request = format!("{head}{more}Connection: close\r\n\r\n");
                app.send_raw(request.as_bytes(), AT_ONCE).await
            };
            let served = ask(&format!("Authorization: Bearer {token}\r\n")).await;
            assert!(served.starts_with("HTTP/1.1 200 "), "{head} {served}");
            assert!(served.contains("\r\nx-session-id: "), "{head} {served}");
            let refused = ask("").await;
            assert!(refused.starts_with("HTTP/1.1 401 "), "{head} {refused}");
        }
    }
    let head = app.request(Method::HEAD, AUTHORIZE).bearer_auth(&token);
    let head = head.send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.headers().contains_key("x-session-id"));
}

#[tokio::test]
async fn what_only_begins_alike_is_not_found() {
    let app = TestApp::spawn(Store::Memory).await;
    for path in ["/v1/authorized", "/v1/authorize*", "/v1/authoriz"] {
        assert_problem(app.get(path).await, 404, "not_found").await;
    }
}

#[tokio::test]
async fn a_401_has_the_challenge() {
    let app = TestApp::spawn(Store::Memory).await;
    let response = app.get("/v1/authorize/app").await;
    let challenge = response.headers()["www-authenticate"].clone();
    assert_eq!(challenge, r#"Bearer realm="tee-session""#);
    assert_problem(response, 401, "missing_token").await;
    let token = app.log_in().await;
    app.log_out(&token).await;
    let response = authorize(&app, &token).await;
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    assert!(!response.headers().contains_key("x-session-id"));
    assert_problem(response, 401, "invalid_token").await;
}

#[tokio::test]
async fn without_its_store_it_is_503_and_no_challenge() {
    let mut redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    redis.kill().await;
    let response = authorize(&app, &token).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(!response.headers().contains_key("www-authenticate"));
    assert_problem(response, 503, "store_unavailable").await;
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn it_slides_the_session(#[case] store: Store) {
    let app = TestApp::builder().policy(2, None).spawn(store).await;
    let token = app.log_in().await;
    for _ in 0..3 {
        sleep(Duration::from_millis(1_200)).await;
        assert_eq!(authorize(&app, &token).await.status(), StatusCode::OK);
    }
}

/// A gateway's address is that of all its clients.
#[tokio::test]
async fn invalid_tokens_are_401_however_many_there_are() {
    let app = TestApp::builder()
        .with(|settings| {
            settings.invalid_token_limit = Some(InvalidTokenLimit {
                burst: NonZeroU32::MIN,
                interval: Duration::from_secs(3_600),
            });
        })
        .spawn(Store::Memory)
        .await;
    for _ in 0..10 {
        assert_problem(authorize(&app, "x").await, 401, "invalid_token").await;
    }
    assert_eq!(app.get_session("x").await.status(), 401);
    assert_eq!(app.get_session("x").await.status(), 429);
    assert_problem(authorize(&app, "x").await, 401, "invalid_token").await;
}

/// With the settings that let pages of other sites use the API, too.
#[tokio::test]
async fn a_preflight_of_a_browser_is_no_way_through() {
    const PAGE: &str = "https://app.golf.example";
    let app = TestApp::builder()
        .with(|settings| settings.cors_allowed_origins = PAGE.parse().unwrap())
        .spawn(Store::Memory)
        .await;
    for origin in [PAGE, "https://evil.example"] {
        let preflight = app
            .request(Method::OPTIONS, "/v1/authorize/app")
            .header("origin", origin)
            .header("access-control-request-method", "GET");
        assert_problem(preflight.send().await.unwrap(), 401, "missing_token").await;
        let token = app.log_in().await;
        let request = app.request(Method::GET, AUTHORIZE).bearer_auth(&token);
        let served = request.header("origin", origin).send().await.unwrap();
        assert_eq!(served.status(), StatusCode::OK);
    }
}

#[rstest]
#[case::small(100)]
#[case::large(20 * 1_024 * 1_024)]
#[tokio::test]
async fn a_body_with_a_length_is_ignored(#[case] length: usize) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for _ in 0..3 {
        let request = app.request(Method::POST, AUTHORIZE).bearer_auth(&token);
        let asked = Instant::now();
        let response = request.body(vec![b'x'; length]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
}

#[rstest]
#[case::small(1)]
#[case::large(200)]
#[tokio::test]
async fn a_chunked_body_is_ignored(#[case] chunks: usize) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for _ in 0..3 {
        let chunks = (0..chunks).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 65_536]));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let request = app.request(Method::PUT, AUTHORIZE).bearer_auth(&token);
        let asked = Instant::now();
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
}

/// Some gateways pass on the fields of a request, and keep its body to themselves.
#[rstest]
#[case::length("Content-Length: 1000\r\n")]
#[case::more_than_any_body_may_have("Content-Length: 10000000000\r\n")]
#[case::chunks("Transfer-Encoding: chunked\r\n")]
#[case::type_and_coding(
    "Content-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n"
)]
#[case::expectation("Expect: 100-continue\r\nContent-Length: 1000\r\n")]
#[case::upgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n")]
#[tokio::test]
async fn a_body_that_is_announced_and_does_not_come_is_not_waited_for(#[case] fields: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = format!(
        "POST {AUTHORIZE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
    );
    let asked = Instant::now();
    let answer = app
        .send_raw(request.as_bytes(), Duration::from_millis(300))
        .await;
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("x-session-id: "), "{answer}");
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn with_a_touch_interval_and_a_near_cache_it_is_answered_the_same() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder()
        .with(|settings| {
            let touch_interval = Duration::from_secs(60);
            settings.policy = settings.policy.with_touch_interval(touch_interval).unwrap();
            settings.near_cache = Some(NearCacheSettings::default());
        })
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    for _ in 0..5 {
        assert_eq!(authorize(&app, &token).await.status(), StatusCode::OK);
    }
    app.log_out(&token).await;
    assert_problem(authorize(&app, &token).await, 401, "invalid_token").await;
}

#[tokio::test]
async fn a_malformed_token_is_not_looked_up() {
    let app = TestApp::builder().spawn_on(HookedRepository::new(|_| async {
        panic!("{}", RepositoryError::unavailable("nobody should ask"));
    }));
    app.until_ready().await;
    assert_problem(authorize(&app, "x").await, 401, "invalid_token").await;
}
