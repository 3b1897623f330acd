//! Tests of creating, reading and ending sessions.

use std::{collections::HashSet, time::Duration};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_domain::contract::repeat_if_late;
use tokio::time::sleep;

use crate::test_app::{Store, TestApp, assert_problem, build_valid_body, parse_time};

const INVALID_TOKEN: &str = r#"Bearer realm="tee-session", error="invalid_token", error_description="Invalid or expired session token""#;

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn full_session_lifecycle_create_get_ttl_and_delete_succeeds(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let token = app.log_in().await;

    let response = app.get_session(&token).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["cookies"], build_valid_body()["cookies"]);
    assert_eq!(body["base_url"], "https://golf.example/members");

    let response = app.get_ttl(&token).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let ttl: Value = response.json().await.unwrap();
    assert!(
        (1_790..=1_800).contains(&ttl["ttl"].as_u64().unwrap()),
        "{ttl}"
    );

    let response = app.log_out(&token).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.text().await.unwrap(), "");

    for response in [
        app.get_session(&token).await,
        app.get_ttl(&token).await,
        app.log_out(&token).await,
    ] {
        assert_eq!(response.headers()["www-authenticate"], INVALID_TOKEN);
        assert_problem(response, 401, "invalid_token").await;
    }
}

#[tokio::test]
async fn store_session_returns_uuid_token() {
    let app = TestApp::spawn(Store::Memory).await;
    let response = app.post_session(&build_valid_body()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    let token = body["access_token"].as_str().unwrap();
    let uuid = uuid::Uuid::parse_str(token).unwrap();
    assert_eq!(uuid.get_version(), Some(uuid::Version::Random));
    assert_eq!(uuid.hyphenated().to_string(), token);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 1_800);
    assert!(body["expires_at"].as_str().unwrap().ends_with('Z'));
    let session_id = body["session_id"].as_str().unwrap();
    assert_eq!(session_id.len(), 22);
    assert_eq!(location, format!("/v1/sessions/{session_id}"));
    let session: Value = app.get_session(token).await.json().await.unwrap();
    assert_eq!(session["session_id"], session_id);
}

#[tokio::test]
async fn cookies_are_returned_in_the_order_in_which_they_were_sent() {
    let app = TestApp::spawn(Store::Redis).await;
    let body = r#"{"cookies": {"z": "1", "m": "2", "a": "3"}, "base_url": "https://golf.example"}"#;
    let response = app
        .request(Method::POST, "/v1/sessions")
        .header("content-type", "application/json; charset=UTF-8")
        .body(body)
        .send()
        .await
        .unwrap();
    let created: Value = response.json().await.unwrap();
    let text = app
        .get_session(created["access_token"].as_str().unwrap())
        .await
        .text()
        .await;
    assert!(
        text.unwrap()
            .contains(r#""cookies":{"z":"1","m":"2","a":"3"}"#)
    );
}

#[tokio::test]
async fn expired_session_returns_401() {
    repeat_if_late(Duration::from_millis(1_000), async |pace| {
        let app = TestApp::builder()
            .policy(pace.seconds(1), None)
            .spawn(Store::Memory)
            .await;
        let token = app.log_in().await;
        assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
        pace.wait(Duration::from_millis(1_200), sleep).await;
        assert_problem(app.get_session(&token).await, 401, "invalid_token").await;
    })
    .await;
}

#[tokio::test]
async fn sliding_window_ttl_is_refreshed_by_get_session_but_not_by_get_session_ttl() {
    repeat_if_late(Duration::from_millis(800), async |pace| {
        let app = TestApp::builder()
            .policy(pace.seconds(2), None)
            .spawn(Store::Memory)
            .await;
        let token = app.log_in().await;
        for _ in 0..3 {
            pace.wait(Duration::from_millis(1_200), sleep).await;
            assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
        }
        // A request for the remaining lifetime does not renew the idle timeout.
        pace.wait(Duration::from_millis(1_200), sleep).await;
        assert_eq!(app.get_ttl(&token).await.status(), StatusCode::OK);
        pace.wait(Duration::from_millis(1_200), sleep).await;
        assert_problem(app.get_ttl(&token).await, 401, "invalid_token").await;
    })
    .await;
}

#[tokio::test]
async fn multiple_concurrent_sessions_keep_their_own_cookies() {
    let app = TestApp::spawn(Store::Memory).await;
    let app = &app;
    let sessions = (0..100).map(|n| async move {
        let value = format!("value-{n}");
        let body = json!({"cookies": {"n": value}, "base_url": "https://golf.example"});
        let created: Value = app.post_session(&body).await.json().await.unwrap();
        let token = created["access_token"].as_str().unwrap().to_owned();
        let session: Value = app.get_session(&token).await.json().await.unwrap();
        assert_eq!(session["cookies"]["n"], value);
        token
    });
    let tokens: HashSet<_> = futures_util::future::join_all(sessions)
        .await
        .into_iter()
        .collect();
    assert_eq!(tokens.len(), 100);
}

#[tokio::test]
async fn session_in_use_ends_at_expires_at_when_its_absolute_lifetime_is_over() {
    repeat_if_late(Duration::from_millis(500), async |pace| {
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
        assert_eq!(created["expires_in"], pace.seconds(2));
        let token = created["access_token"].as_str().unwrap();
        let session: Value = app.get_session(token).await.json().await.unwrap();
        assert_eq!(session["expires_at"], created["expires_at"]);
        for _ in 0..3 {
            pace.wait(Duration::from_millis(500), sleep).await;
            assert_eq!(app.get_session(token).await.status(), StatusCode::OK);
        }
        pace.wait(Duration::from_millis(600), sleep).await;
        assert_problem(app.get_session(token).await, 401, "invalid_token").await;
    })
    .await;
}

/// Checks `expires_at` before and after an access. Before the access, the idle timeout ends earlier
/// than the absolute lifetime. After the access, the absolute lifetime ends earlier.
#[tokio::test]
async fn expires_at_is_the_earlier_of_idle_timeout_and_absolute_lifetime() {
    repeat_if_late(Duration::from_millis(1_500), async |pace| {
        let (idle_timeout, lifetime) = (pace.seconds(4), pace.seconds(6));
        let app = TestApp::builder()
            .policy(idle_timeout, Some(lifetime))
            .spawn(Store::Memory)
            .await;
        let seconds_after = |earlier: &Value, later: &Value| {
            (parse_time(later) - parse_time(earlier)).as_seconds_f64()
        };
        let created: Value = app
            .post_session(&build_valid_body())
            .await
            .json()
            .await
            .unwrap();
        assert_eq!(created["expires_in"], idle_timeout);
        let token = created["access_token"].as_str().unwrap();
        pace.wait(Duration::from_millis(2_500), sleep).await;
        let session: Value = app.get_session(token).await.json().await.unwrap();
        let created_at = &session["created_at"];
        assert_eq!(
            seconds_after(created_at, &created["expires_at"]),
            idle_timeout as f64
        );
        assert_eq!(
            seconds_after(created_at, &session["expires_at"]),
            lifetime as f64
        );
        let ttl: Value = app.get_ttl(token).await.json().await.unwrap();
        assert_eq!(
            seconds_after(created_at, &ttl["expires_at"]),
            lifetime as f64
        );
        assert!(
            (1..=pace.seconds(7) / 2).contains(&ttl["ttl"].as_u64().unwrap()),
            "{ttl}"
        );
    })
    .await;
}

#[tokio::test]
async fn two_instances_share_sessions_and_a_logout_takes_effect_on_both_at_once() {
    let redis = tee_session_test_support::TestRedis::start().await;
    let one = TestApp::builder().spawn_on_redis(redis.url());
    let other = TestApp::builder().spawn_on_redis(redis.url());
    one.until_ready().await;
    other.until_ready().await;
    for _ in 0..20 {
        let token = one.log_in().await;
        assert_eq!(other.get_session(&token).await.status(), StatusCode::OK);
        assert_eq!(one.log_out(&token).await.status(), StatusCode::NO_CONTENT);
        assert_problem(other.get_session(&token).await, 401, "invalid_token").await;
    }
}

#[tokio::test]
async fn head_returns_the_get_response_without_a_body() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let head = app
        .request(Method::HEAD, "/v1/session")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(
        head.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse::<usize>()
            .unwrap()
            > 100
    );
    assert_eq!(head.text().await.unwrap(), "");
    let refused = app
        .request(Method::HEAD, "/v1/session")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let not_allowed = app.request(Method::HEAD, "/v1/session/rotate");
    let not_allowed = not_allowed.send().await.unwrap();
    assert_eq!(not_allowed.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(not_allowed.headers()["allow"], "POST");
    for path in ["/health", "/health/live", "/health/ready"] {
        let head = app.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn full_in_memory_store_returns_503_store_full_and_keeps_its_sessions() {
    let app = TestApp::builder()
        .memory_capacity(1)
        .spawn(Store::Memory)
        .await;
    let token = app.log_in().await;
    let response = app.post_session(&build_valid_body()).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(!response.headers().contains_key("www-authenticate"));
    assert_problem(response, 503, "store_full").await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn valid_x_request_id_is_returned_and_an_invalid_id_is_replaced_by_a_uuid() {
    let app = TestApp::spawn(Store::Memory).await;
    let with_id = |id: &str| {
        app.request(Method::GET, "/health/live")
            .header("x-request-id", id)
    };
    let response = with_id("abc-123").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "abc-123");
    let response = with_id("not sane").send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    let response = app.get("/no-such-path").await;
    assert!(response.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn responses_forbid_content_sniffing_and_do_not_name_the_server_software() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for response in [
        app.get_session(&token).await,
        app.get("/health").await,
        app.get("/no").await,
    ] {
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        for name in ["server", "x-powered-by", "access-control-allow-origin"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
    }
}

#[tokio::test]
async fn service_accepts_uuid_and_opaque_tokens_but_issues_only_the_configured_format() {
    let redis = tee_session_test_support::TestRedis::start().await;
    let uuids = TestApp::builder().spawn_on_redis(redis.url());
    let opaque = TestApp::builder()
        .with(|settings| settings.token_format = tee_session_domain::TokenFormat::Opaque)
        .spawn_on_redis(redis.url());
    uuids.until_ready().await;
    opaque.until_ready().await;
    let (uuid_token, opaque_token) = (uuids.log_in().await, opaque.log_in().await);
    assert_eq!((uuid_token.len(), opaque_token.len()), (36, 43));
    for app in [&uuids, &opaque] {
        assert_eq!(app.get_session(&uuid_token).await.status(), StatusCode::OK);
        assert_eq!(
            app.get_session(&opaque_token).await.status(),
            StatusCode::OK
        );
    }
    assert_eq!(
        uuids.log_out(&opaque_token).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_problem(
        opaque.get_session(&opaque_token).await,
        401,
        "invalid_token",
    )
    .await;
}

#[tokio::test]
async fn base_url_with_a_disallowed_host_returns_422() {
    let app = TestApp::builder()
        .with(|settings| settings.allowed_base_hosts = ".golf.example".parse().unwrap())
        .spawn(Store::Memory)
        .await;
    let body = |url: &str| json!({"cookies": {"a": "1"}, "base_url": url});
    let allowed = app.post_session(&body("https://www.golf.example/")).await;
    assert_eq!(allowed.status(), StatusCode::CREATED);
    for url in [
        "https://golf.example.evil.example",
        "https://evilgolf.example",
        "http://127.0.0.1",
    ] {
        let problem =
            assert_problem(app.post_session(&body(url)).await, 422, "invalid_session").await;
        assert_eq!(problem["errors"][0]["pointer"], "/base_url");
    }
}

#[rstest]
#[case::unicode_allowed("b\u{fc}cher.example", "https://xn--bcher-kva.example", 201)]
#[case::punycode_allowed("xn--bcher-kva.example", "https://B\u{dc}CHER.example:8443/x", 201)]
#[case::homograph("golf.example", "https://g\u{43e}lf.example", 422)]
#[tokio::test]
async fn base_url_with_an_international_host_is_checked_in_ascii_form_and_stored_unchanged(
    #[case] allowed: &str,
    #[case] base_url: &str,
    #[case] expected: u16,
) {
    let app = TestApp::builder()
        .with(|settings| settings.allowed_base_hosts = allowed.parse().unwrap())
        .spawn(Store::Memory)
        .await;
    let body = json!({"cookies": {"a": "1"}, "base_url": base_url});
    let response = app.post_session(&body).await;
    assert_eq!(response.status().as_u16(), expected);
    if expected == 201 {
        let created: Value = response.json().await.unwrap();
        let token = created["access_token"].as_str().unwrap();
        let session: Value = app.get_session(token).await.json().await.unwrap();
        assert_eq!(session["base_url"], base_url);
    }
}
