//! Tests of the limit for invalid tokens from one client address.

use std::{num::NonZeroU32, time::Duration};

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use tee_session_api_server::InvalidTokenLimit;
use tee_session_domain::{SessionToken, contract::repeat_if_late};
use tee_session_test_support::{CapturedLogs, eventually};
use tokio::time::sleep;

use crate::test_app::{Store, TestApp, assert_problem};

const MALFORMED: &str = "x";

/// Creates a limit that allows `burst` invalid tokens at once, and one more per hour. No test runs
/// for an hour, so each test may send exactly `burst` invalid tokens.
fn limit_of_invalid_tokens(burst: u32) -> Option<InvalidTokenLimit> {
    Some(InvalidTokenLimit {
        burst: NonZeroU32::new(burst).unwrap(),
        interval: Duration::from_secs(3_600),
    })
}

async fn start_app(burst: u32) -> TestApp {
    TestApp::builder()
        .with(|settings| settings.invalid_token_limit = limit_of_invalid_tokens(burst))
        .spawn(Store::Memory)
        .await
}

fn generate_unknown_token() -> String {
    SessionToken::generate().expose_secret().to_owned()
}

async fn send_request(app: &TestApp, method: Method, path: &str, token: &str) -> Response {
    let request = app.request(method, path).bearer_auth(token);
    let request = request.header("content-type", "application/merge-patch+json");
    request.body("{}").send().await.unwrap()
}

async fn get_from(app: &TestApp, forwarded_for: &str, token: &str) -> StatusCode {
    let request = app.request(Method::GET, "/v1/session").bearer_auth(token);
    let request = request.header("x-forwarded-for", forwarded_for);
    request.send().await.unwrap().status()
}

#[rstest]
#[case::get(Method::GET, "/v1/session")]
#[case::ttl(Method::GET, "/v1/session/ttl")]
#[case::delete(Method::DELETE, "/v1/session")]
#[case::patch(Method::PATCH, "/v1/session")]
#[case::rotate(Method::POST, "/v1/session/rotate")]
#[tokio::test]
async fn invalid_token_from_an_address_over_the_limit_of_invalid_tokens_returns_429(
    #[case] method: Method,
    #[case] path: &str,
) {
    let app = start_app(3).await;
    for token in [
        generate_unknown_token(),
        MALFORMED.to_owned(),
        generate_unknown_token(),
    ] {
        let response = send_request(&app, method.clone(), path, &token).await;
        assert_problem(response, 401, "invalid_token").await;
    }
    for token in [generate_unknown_token(), MALFORMED.to_owned()] {
        let response = send_request(&app, method.clone(), path, &token).await;
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_problem(response, 429, "too_many_requests").await;
    }
}

#[tokio::test]
async fn valid_token_is_accepted_while_the_client_address_is_over_the_limit_of_invalid_tokens() {
    let app = start_app(1).await;
    let token = app.log_in().await;
    for _ in 0..5 {
        app.get_session(MALFORMED).await;
    }
    assert_eq!(app.get_session(MALFORMED).await.status(), 429);
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(app.get_ttl(&token).await.status(), StatusCode::OK);
    assert_eq!(app.log_out(&token).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(app.log_out(&token).await.status(), 429);
}

/// Checks that a valid token renews the idle timeout while the client address is over the limit of
/// invalid tokens. Otherwise, users who share an address with an attacker would be logged out after
/// the idle timeout.
#[tokio::test]
async fn valid_token_renews_the_idle_timeout_while_its_client_address_is_over_the_limit() {
    repeat_if_late(Duration::from_millis(2_200), async |pace| {
        let app = TestApp::builder()
            .policy(pace.seconds(3), None)
            .with(|settings| settings.invalid_token_limit = limit_of_invalid_tokens(1))
            .spawn(Store::Redis)
            .await;
        let token = app.log_in().await;
        app.get_session(MALFORMED).await;
        for _ in 0..5 {
            assert_eq!(app.get_session(MALFORMED).await.status(), 429);
            assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
            pace.wait(Duration::from_millis(800), sleep).await;
        }
    })
    .await;
}

#[tokio::test]
async fn missing_or_malformed_authorization_header_does_not_count_as_an_invalid_token() {
    let app = start_app(1).await;
    for _ in 0..5 {
        let response = app.get("/v1/session").await;
        assert_problem(response, 401, "missing_token").await;
        let response = send_request(&app, Method::GET, "/v1/session", "a b").await;
        assert_problem(response, 400, "invalid_request").await;
    }
    let response = app.get_session(MALFORMED).await;
    assert_problem(response, 401, "invalid_token").await;
}

/// Simulates many clients that share the address of one gateway, and whose sessions all expire at
/// the same time. Each client retries after a 429 until it gets a 401, and would then log in
/// again.
#[tokio::test]
async fn clients_that_share_one_address_and_retry_after_429_all_get_401_for_expired_tokens() {
    let limit = InvalidTokenLimit {
        burst: NonZeroU32::new(10).unwrap(),
        interval: Duration::from_millis(100),
    };
    let app = TestApp::builder()
        .with(|settings| settings.invalid_token_limit = Some(limit))
        .spawn(Store::Memory)
        .await;
    let mut tokens: Vec<_> = (0..40).map(|_| generate_unknown_token()).collect();
    let mut first_round = true;
    eventually(Duration::from_secs(30), async || {
        let mut waiting = Vec::new();
        for token in tokens.drain(..) {
            match app.get_session(&token).await.status().as_u16() {
                401 => {}
                429 => waiting.push(token),
                other => panic!("{other}"),
            }
        }
        assert!(!first_round || !waiting.is_empty(), "the limit applies");
        first_round = false;
        tokens = waiting;
        tokens.is_empty()
    })
    .await;
}

#[tokio::test]
async fn every_invalid_token_returns_401_if_no_limit_of_invalid_tokens_is_configured() {
    let app = TestApp::builder()
        .with(|settings| settings.invalid_token_limit = None)
        .spawn(Store::Memory)
        .await;
    for _ in 0..400 {
        assert_eq!(app.get_session(MALFORMED).await.status(), 401);
    }
}

#[tokio::test]
async fn default_limit_allows_a_burst_of_300_invalid_tokens() {
    let app = TestApp::spawn(Store::Memory).await;
    for _ in 0..300 {
        assert_eq!(app.get_session(MALFORMED).await.status(), 401);
    }
}

#[tokio::test]
async fn x_forwarded_for_from_an_untrusted_peer_is_ignored() {
    let app = start_app(1).await;
    assert_eq!(get_from(&app, "198.51.100.1", MALFORMED).await, 401);
    assert_eq!(get_from(&app, "198.51.100.2", MALFORMED).await, 429);
}

#[tokio::test]
async fn each_client_behind_a_trusted_proxy_has_its_own_limit_of_invalid_tokens() {
    let app = TestApp::builder()
        .with(|settings| {
            settings.invalid_token_limit = limit_of_invalid_tokens(1);
            settings.trusted_proxies = "127.0.0.0/8".parse().unwrap();
        })
        .spawn(Store::Memory)
        .await;
    for client in ["198.51.100.1", "198.51.100.2", "2001:db8::1"] {
        assert_eq!(get_from(&app, client, MALFORMED).await, 401, "{client}");
        assert_eq!(get_from(&app, client, MALFORMED).await, 429, "{client}");
    }
    // Two IPv6 addresses in the same /64 network count as one client.
    assert_eq!(get_from(&app, "2001:db8::2", MALFORMED).await, 429);
    // If a trusted proxy sends no `X-Forwarded-For`, the client is unknown, so no limit applies.
    for _ in 0..5 {
        assert_eq!(app.get_session(MALFORMED).await.status(), 401);
    }
}

#[tokio::test]
async fn well_formed_token_after_too_many_invalid_tokens_returns_503_not_429_if_redis_is_down() {
    let mut redis = tee_session_test_support::RedisProcess::start().await;
    let app = TestApp::builder()
        .with(|settings| settings.invalid_token_limit = limit_of_invalid_tokens(1))
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    app.get_session(MALFORMED).await;
    redis.kill().await;
    let response = app.get_session(&token).await;
    assert_problem(response, 503, "store_unavailable").await;
    assert_eq!(app.get_session(MALFORMED).await.status(), 429);
}

/// Runs the service on the thread of the test, because `CapturedLogs` captures only the logs of the
/// current thread.
#[tokio::test]
async fn many_invalid_tokens_over_the_limit_from_one_address_write_only_one_log_line() {
    use std::sync::Arc;

    use actix_web::{App, HttpResponse, test, web};
    use tee_session_auth_middleware::{BearerAuth, InvalidTokenLimiter, LimitInvalidTokens};
    use tee_session_domain::{SessionManager, SessionPolicy};
    use tee_session_memory_adapter::MemoryRepository;

    let limiter = InvalidTokenLimiter::new(limit_of_invalid_tokens(2).unwrap(), <_>::default());
    let sessions = SessionManager::new(MemoryRepository::default(), SessionPolicy::default());
    let sessions = web::Data::new(sessions);
    let members = web::resource("/")
        .route(web::get().to(HttpResponse::Ok))
        .wrap(BearerAuth::new(sessions.clone()))
        .wrap(LimitInvalidTokens::new(sessions, Arc::new(limiter)));
    let app = test::init_service(App::new().service(members)).await;
    let logs = CapturedLogs::start();
    let mut answers = Vec::new();
    for _ in 0..50 {
        let request = test::TestRequest::get()
            .peer_addr(([192, 0, 2, 1], 4_711).into())
            .insert_header((
                "authorization",
                format!("Bearer {}", generate_unknown_token()),
            ));
        let response = test::call_service(&app, request.to_request()).await;
        answers.push(response.status().as_u16());
    }
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 2);
    assert_eq!(logs.events("Session not found").len(), 2);
    let limited = "Client exceeded the limit of invalid tokens: answered with 429";
    assert_eq!(logs.events(limited).len(), 1);
    assert!(logs.events(limited)[0].contains("192.0.2.1"));
}
