//! Tests of `/v1/authorize`, which authorizes requests for gateways (forward authentication).

use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_api_server::NearCacheSettings;
use tee_session_domain::{RepositoryError, contract::repeat_if_late};
use tee_session_test_support::RedisProcess;
use tokio::time::sleep;

use crate::{
    hooked_repository::HookedRepository,
    test_app::{Store, TestApp, allow_one_invalid_token, assert_problem, build_valid_body},
};

const AUTHORIZE: &str = "/v1/authorize";

/// Maximum response time if the service does not wait for the request body. This time is much
/// shorter than the timeout for slow request bodies.
const MAX_DURATION: Duration = Duration::from_secs(2);

async fn authorize(app: &TestApp, token: &str) -> Response {
    let request = app.request(Method::GET, AUTHORIZE).bearer_auth(token);
    request.send().await.unwrap()
}

#[tokio::test]
async fn authorize_with_a_valid_token_returns_session_data_without_cookies() {
    let app = TestApp::spawn(Store::Memory).await;
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
    let output = format!("{headers:?}{text}");
    for secret in [token.as_str(), "SESSIONID", "a1b2c3"] {
        assert!(!output.contains(secret), "{output}");
    }
}

#[rstest]
#[case::path(
    "https://b\u{fc}cher.example/\u{26f3}?x=\u{e4}",
    "https://xn--bcher-kva.example/%E2%9B%B3?x=%C3%A4"
)]
#[case::upper_case("HTTPS://Golf.Example", "https://golf.example/")]
#[tokio::test]
async fn authorize_returns_the_base_url_as_ascii_in_the_header_and_unchanged_in_the_body(
    #[case] given: &str,
    #[case] expected: &str,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let mut login = build_valid_body();
    login["base_url"] = given.into();
    let created: Value = app.post_session(&login).await.json().await.unwrap();
    let response = authorize(&app, created["access_token"].as_str().unwrap()).await;
    assert_eq!(response.headers()["x-session-base-url"], expected);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["extra"]["base_url"], given);
}

/// A gateway copies the target with its query, and the cookies, from a request to another
/// application. Neither their size nor their content may change the response.
#[tokio::test]
async fn authorize_ignores_a_token_in_the_query_and_large_cookies_and_a_long_request_target() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let path = format!(
        "{AUTHORIZE}/page?access_token=of-the-app&q={}",
        "q".repeat(30 * 1_024)
    );
    for (token, status) in [(token.as_str(), 200), ("x", 401)] {
        let request = app.request(Method::GET, &path).bearer_auth(token);
        let request = request
            .header("cookie", format!("a={}", "c".repeat(30 * 1_024)))
            .header("x-forwarded-uri", "u".repeat(30 * 1_024))
            .header("expect", "100-continue");
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn authorize_accepts_all_methods_and_subpaths() {
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
            let send = async |more: &str| {
                let request = format!("{head}{more}Connection: close\r\n\r\n");
                app.send_raw(request.as_bytes(), MAX_DURATION).await
            };
            let served = send(&format!("Authorization: Bearer {token}\r\n")).await;
            assert!(served.starts_with("HTTP/1.1 200 "), "{head} {served}");
            assert!(served.contains("\r\nx-session-id: "), "{head} {served}");
            let refused = send("").await;
            assert!(refused.starts_with("HTTP/1.1 401 "), "{head} {refused}");
        }
    }
    let head = app.request(Method::HEAD, AUTHORIZE).bearer_auth(&token);
    let head = head.send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.headers().contains_key("x-session-id"));
}

#[tokio::test]
async fn path_similar_to_v1_authorize_returns_404() {
    let app = TestApp::spawn(Store::Memory).await;
    for path in ["/v1/authorized", "/v1/authorize*", "/v1/authoriz"] {
        assert_problem(app.get(path).await, 404, "not_found").await;
    }
}

#[tokio::test]
async fn authorize_returns_401_with_a_www_authenticate_header_for_a_missing_or_invalid_token() {
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
async fn authorize_returns_503_without_a_www_authenticate_header_if_the_store_is_unavailable() {
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

#[tokio::test]
async fn authorize_renews_the_idle_timeout() {
    repeat_if_late(Duration::from_millis(800), async |pace| {
        let app = TestApp::builder()
            .policy(pace.seconds(2), None)
            .spawn(Store::Memory)
            .await;
        let token = app.log_in().await;
        for _ in 0..3 {
            pace.wait(Duration::from_millis(1_200), sleep).await;
            assert_eq!(authorize(&app, &token).await.status(), StatusCode::OK);
        }
    })
    .await;
}

/// A gateway sends the requests of all its clients from one address, so `/v1/authorize` never
/// responds with 429: invalid tokens of one client must not affect the other clients.
#[tokio::test]
async fn authorize_returns_401_and_never_429_for_any_number_of_invalid_tokens() {
    let app = TestApp::builder()
        .with(allow_one_invalid_token)
        .spawn(Store::Memory)
        .await;
    for _ in 0..10 {
        assert_problem(authorize(&app, "x").await, 401, "invalid_token").await;
    }
    assert_eq!(app.get_session("x").await.status(), 401);
    assert_eq!(app.get_session("x").await.status(), 429);
    assert_problem(authorize(&app, "x").await, 401, "invalid_token").await;
}

/// Checks that a CORS preflight request without a token is not answered with 200. A gateway would
/// treat the 200 as permission to forward the request.
#[tokio::test]
async fn cors_preflight_request_to_authorize_without_a_token_returns_401() {
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
async fn authorize_ignores_a_body_with_content_length(#[case] length: usize) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for _ in 0..3 {
        let request = app.request(Method::POST, AUTHORIZE).bearer_auth(&token);
        let started = Instant::now();
        let response = request.body(vec![b'x'; length]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let elapsed = started.elapsed();
        assert!(elapsed < MAX_DURATION, "{elapsed:?}");
    }
}

#[rstest]
#[case::small(1)]
#[case::large(200)]
#[tokio::test]
async fn authorize_ignores_a_chunked_body(#[case] chunks: usize) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for _ in 0..3 {
        let chunks = (0..chunks).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 65_536]));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let request = app.request(Method::PUT, AUTHORIZE).bearer_auth(&token);
        let started = Instant::now();
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let elapsed = started.elapsed();
        assert!(elapsed < MAX_DURATION, "{elapsed:?}");
    }
}

/// Simulates a gateway that forwards the header fields of a request without the request body.
#[rstest]
#[case::content_length("Content-Length: 1000\r\n")]
#[case::content_length_over_the_limit("Content-Length: 10000000000\r\n")]
#[case::chunked("Transfer-Encoding: chunked\r\n")]
#[case::content_type_and_encoding(
    "Content-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n"
)]
#[case::expect_100_continue("Expect: 100-continue\r\nContent-Length: 1000\r\n")]
#[case::upgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n")]
#[tokio::test]
async fn authorize_does_not_wait_for_a_declared_body_that_never_arrives(#[case] fields: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = format!(
        "POST {AUTHORIZE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
    );
    let started = Instant::now();
    let answer = app
        .send_raw(request.as_bytes(), Duration::from_millis(300))
        .await;
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("x-session-id: "), "{answer}");
    let elapsed = started.elapsed();
    assert!(elapsed < MAX_DURATION, "{elapsed:?}");
}

#[tokio::test]
async fn authorize_returns_401_after_logout_although_the_session_was_in_the_near_cache() {
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
async fn authorize_rejects_a_malformed_token_without_a_store_call() {
    let app = TestApp::builder().spawn_on(HookedRepository::new(|_| async {
        panic!("{}", RepositoryError::unavailable("unexpected store call"));
    }));
    app.until_ready().await;
    assert_problem(authorize(&app, "x").await, 401, "invalid_token").await;
}
