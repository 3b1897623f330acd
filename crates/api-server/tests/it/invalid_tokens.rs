//! Many invalid tokens from one address.

use std::{num::NonZeroU32, time::Duration};

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use tee_session_api_server::InvalidTokenLimit;
use tee_session_domain::SessionToken;
use tee_session_test_support::{CapturedLogs, eventually};
use tokio::time::sleep;

use crate::test_app::{Store, TestApp, assert_problem};

const MALFORMED: &str = "x";

/// So many, and another one an hour later: never within a test.
fn limit(burst: u32) -> Option<InvalidTokenLimit> {
    Some(InvalidTokenLimit {
        burst: NonZeroU32::new(burst).unwrap(),
        interval: Duration::from_secs(3_600),
    })
}

async fn app_with(burst: u32, store: Store) -> TestApp {
    TestApp::builder()
        .with(|settings| settings.invalid_token_limit = limit(burst))
        .spawn(store)
        .await
}

fn unknown() -> String {
    SessionToken::generate().expose_secret().to_owned()
}

async fn request(app: &TestApp, method: Method, path: &str, token: &str) -> Response {
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
async fn over_the_limit_an_invalid_token_is_429_with_retry_after(
    #[case] method: Method,
    #[case] path: &str,
    #[values(Store::Memory, Store::Redis)] store: Store,
) {
    let app = app_with(3, store).await;
    for token in [unknown(), MALFORMED.to_owned(), unknown()] {
        let response = request(&app, method.clone(), path, &token).await;
        assert_problem(response, 401, "invalid_token").await;
    }
    for token in [unknown(), MALFORMED.to_owned()] {
        let response = request(&app, method.clone(), path, &token).await;
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_problem(response, 429, "too_many_requests").await;
    }
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_valid_token_is_served_whatever_its_neighbours_guess(#[case] store: Store) {
    let app = app_with(1, store).await;
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

/// What is served slides, or people behind a noisy address would be logged out in the end.
#[tokio::test]
async fn a_valid_token_slides_although_its_address_is_over_the_limit() {
    let app = TestApp::builder()
        .policy(3, None)
        .with(|settings| settings.invalid_token_limit = limit(1))
        .spawn(Store::Redis)
        .await;
    let token = app.log_in().await;
    app.get_session(MALFORMED).await;
    for _ in 0..5 {
        assert_eq!(app.get_session(MALFORMED).await.status(), 429);
        assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
        sleep(Duration::from_millis(800)).await;
    }
}

#[tokio::test]
async fn what_is_no_token_is_not_counted() {
    let app = app_with(1, Store::Memory).await;
    for _ in 0..5 {
        let response = app.get("/v1/session").await;
        assert_problem(response, 401, "missing_token").await;
        let response = request(&app, Method::GET, "/v1/session", "a b").await;
        assert_problem(response, 400, "invalid_request").await;
    }
    let response = app.get_session(MALFORMED).await;
    assert_problem(response, 401, "invalid_token").await;
}

/// All sessions behind one gateway end together: whoever tries again as told gets the 401 that
/// says to log in again.
#[tokio::test]
async fn after_a_mass_expiry_behind_one_address_everybody_gets_a_401() {
    let limit = InvalidTokenLimit {
        burst: NonZeroU32::new(10).unwrap(),
        interval: Duration::from_millis(100),
    };
    let app = TestApp::builder()
        .with(|settings| settings.invalid_token_limit = Some(limit))
        .spawn(Store::Memory)
        .await;
    let mut tokens: Vec<_> = (0..40).map(|_| unknown()).collect();
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
        assert!(!first_round || !waiting.is_empty(), "the limit holds");
        first_round = false;
        tokens = waiting;
        tokens.is_empty()
    })
    .await;
}

#[tokio::test]
async fn without_a_limit_every_invalid_token_is_401() {
    let app = TestApp::builder()
        .with(|settings| settings.invalid_token_limit = None)
        .spawn(Store::Memory)
        .await;
    for _ in 0..400 {
        assert_eq!(app.get_session(MALFORMED).await.status(), 401);
    }
}

#[tokio::test]
async fn by_default_three_hundred_at_once_are_answered_401() {
    let app = TestApp::spawn(Store::Memory).await;
    for _ in 0..300 {
        assert_eq!(app.get_session(MALFORMED).await.status(), 401);
    }
}

#[tokio::test]
async fn an_address_that_an_untrusted_peer_claims_changes_nothing() {
    let app = app_with(1, Store::Memory).await;
    assert_eq!(get_from(&app, "198.51.100.1", MALFORMED).await, 401);
    assert_eq!(get_from(&app, "198.51.100.2", MALFORMED).await, 429);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let app = TestApp::builder()
        .with(|settings| {
            settings.invalid_token_limit = limit(1);
            settings.trusted_proxies = "127.0.0.0/8".parse().unwrap();
        })
        .spawn(Store::Memory)
        .await;
    for client in ["198.51.100.1", "198.51.100.2", "2001:db8::1"] {
        assert_eq!(get_from(&app, client, MALFORMED).await, 401, "{client}");
        assert_eq!(get_from(&app, client, MALFORMED).await, 429, "{client}");
    }
    // Its neighbour in the same /64 is the same client.
    assert_eq!(get_from(&app, "2001:db8::2", MALFORMED).await, 429);
    // Nobody says who this is, so nobody is held to a limit.
    for _ in 0..5 {
        assert_eq!(app.get_session(MALFORMED).await.status(), 401);
    }
}

#[tokio::test]
async fn while_the_store_is_away_a_well_formed_token_is_503_over_the_limit_too() {
    let mut redis = tee_session_test_support::RedisProcess::start().await;
    let app = TestApp::builder()
        .with(|settings| settings.invalid_token_limit = limit(1))
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    app.get_session(MALFORMED).await;
    redis.kill().await;
    let response = app.get_session(&token).await;
    assert_problem(response, 503, "store_unavailable").await;
    assert_eq!(app.get_session(MALFORMED).await.status(), 429);
}

/// One worker, on this thread, so that its log can be read.
#[tokio::test]
async fn over_the_limit_the_log_stays_quiet() {
    use std::sync::Arc;

    use actix_web::{App, HttpResponse, test, web};
    use tee_session_auth_middleware::{BearerAuth, InvalidTokenLimiter, LimitInvalidTokens};
    use tee_session_domain::{SessionManager, SessionPolicy};
    use tee_session_memory_adapter::MemoryRepository;

    let limiter = InvalidTokenLimiter::new(limit(2).unwrap(), <_>::default());
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
            .insert_header(("authorization", format!("Bearer {}", unknown())));
        let response = test::call_service(&app, request.to_request()).await;
        answers.push(response.status().as_u16());
    }
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 2);
    assert_eq!(logs.events("Session not found").len(), 2);
    let limited = "Invalid tokens of this client are over the limit: answered with 429";
    assert_eq!(logs.events(limited).len(), 1);
    assert!(logs.events(limited)[0].contains("192.0.2.1"));
}
