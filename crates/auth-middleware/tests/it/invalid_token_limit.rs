//! Tests of `LimitInvalidTokens` around `BearerAuth`, with the test service of Actix Web.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse,
    http::{StatusCode, header},
    test::{TestRequest, call_service, init_service, read_body_json},
    web::{self, Data},
};
use rstest::rstest;
use tee_session_auth_middleware::{
    BearerAuth, CurrentSession, InvalidTokenLimit, InvalidTokenLimiter, LimitInvalidTokens,
    ProblemCode, ProblemDetails, TrustedProxies,
};
use tee_session_domain::{
    BaseUrl, Cookies, SessionId, SessionManager, SessionPolicy, SessionToken,
};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_test_support::CapturedLogs;

const BURST: u32 = 2;
const ADDRESS: &str = "192.0.2.1:5000";
const OTHER_ADDRESS: &str = "192.0.2.2:5000";
const IDEMPOTENCY_KEY: (&str, &str) = ("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324");
const NOT_FOUND: &str = "Session not found";
const REFUSED: &str = "Client exceeded the limit of invalid tokens: answered with 429";

type Sessions = Data<SessionManager<MemoryRepository>>;

fn create_sessions() -> Sessions {
    let repository = MemoryRepository::default();
    Data::new(SessionManager::new(repository, SessionPolicy::default()))
}

/// Creates a limiter that allows two invalid tokens per address, and one more per hour.
fn create_limiter() -> Option<Arc<InvalidTokenLimiter>> {
    let limit = InvalidTokenLimit {
        burst: NonZeroU32::new(BURST).unwrap(),
        interval: Duration::from_secs(3_600),
    };
    Some(Arc::new(InvalidTokenLimiter::new(
        limit,
        TrustedProxies::default(),
    )))
}

async fn log_in(sessions: &Sessions) -> SessionToken {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    let base_url = BaseUrl::new("https://golf.example/members").unwrap();
    sessions.store(cookies, base_url).await.unwrap().token
}

/// Handles a request: returns a response with the id of the session in a header field.
async fn handler(current: CurrentSession) -> HttpResponse {
    let id = current.session_id().to_string();
    HttpResponse::Ok()
        .insert_header(("session-id", id))
        .finish()
}

/// Creates the application: its only route requires a session, and invalid tokens are limited.
macro_rules! start {
    ($sessions:expr, $limiter:expr) => {{
        let auth = BearerAuth::new($sessions.clone());
        let limit = LimitInvalidTokens::new($sessions.clone(), $limiter);
        let resource = web::resource("/").wrap(auth).wrap(limit);
        init_service(App::new().service(resource.route(web::get().to(handler)))).await
    }};
}

/// Sends a request with the value `authorization` from the address `peer`. Returns the response.
macro_rules! send {
    ($app:expr, $peer:expr, $authorization:expr) => {{
        let request = TestRequest::get().peer_addr($peer.parse().unwrap());
        let field = (header::AUTHORIZATION, $authorization);
        call_service($app, request.insert_header(field).to_request()).await
    }};
}

fn bearer(token: &SessionToken) -> String {
    format!("Bearer {}", token.expose_secret())
}

#[rstest]
#[case::unknown(&bearer(&SessionToken::generate()))]
#[case::malformed("Bearer x")]
#[actix_web::test]
async fn invalid_tokens_over_the_limit_get_429_but_valid_tokens_and_other_clients_do_not(
    #[case] invalid: &str,
) {
    let (sessions, logs) = (create_sessions(), CapturedLogs::start());
    let app = start!(sessions, create_limiter());
    for _ in 0..BURST {
        assert_eq!(
            send!(&app, ADDRESS, invalid).status(),
            StatusCode::UNAUTHORIZED
        );
    }
    assert!(logs.events(REFUSED).is_empty());
    let looked_up = logs.events(NOT_FOUND).len();
    for _ in 0..3 {
        let refused = send!(&app, ADDRESS, invalid);
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers().get(header::RETRY_AFTER).unwrap(), "1");
    }
    assert!(!logs.events(REFUSED).is_empty());
    // A request that is refused with 429 does not reach the inner service, so the inner service
    // logs nothing.
    assert_eq!(logs.events(NOT_FOUND).len(), looked_up);
    assert_eq!(
        send!(&app, OTHER_ADDRESS, invalid).status(),
        StatusCode::UNAUTHORIZED
    );

    let token = log_in(&sessions).await;
    let accepted = send!(&app, ADDRESS, bearer(&token));
    assert_eq!(accepted.status(), StatusCode::OK);
    let id = accepted.headers().get("session-id").unwrap();
    assert_eq!(id.to_str().unwrap(), SessionId::of(&token).to_string());
}

/// The middleware looks up a token itself only if the client is over the limit. Otherwise, the
/// inner service looks up the token. If the token is invalid, it must count towards the limit.
#[actix_web::test]
async fn invalid_token_that_the_inner_service_detects_counts_towards_the_limit() {
    let sessions = create_sessions();
    let limiter = create_limiter();
    let app = start!(sessions, limiter.clone());
    assert_eq!(
        send!(&app, ADDRESS, "Bearer x").status(),
        StatusCode::UNAUTHORIZED
    );
    let client = "192.0.2.1".parse().unwrap();
    let limiter = limiter.unwrap();
    assert!(!limiter.is_exhausted(client));
    assert_eq!(
        send!(&app, ADDRESS, "Bearer x").status(),
        StatusCode::UNAUTHORIZED
    );
    assert!(limiter.is_exhausted(client));
}

#[rstest]
#[case::another_scheme("Basic dXNlcjpwYXNz", StatusCode::UNAUTHORIZED)]
#[case::malformed("Bearer a b", StatusCode::BAD_REQUEST)]
#[actix_web::test]
async fn missing_and_malformed_credentials_do_not_count_as_invalid_tokens(
    #[case] authorization: &str,
    #[case] status: StatusCode,
) {
    let sessions = create_sessions();
    let app = start!(sessions, create_limiter());
    for _ in 0..2 * BURST {
        assert_eq!(send!(&app, ADDRESS, authorization).status(), status);
    }
    assert_eq!(
        send!(&app, ADDRESS, "Bearer x").status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        send!(&app, ADDRESS, "Bearer x").status(),
        StatusCode::UNAUTHORIZED
    );
    let refused = send!(&app, ADDRESS, "Bearer x");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send!(&app, ADDRESS, authorization).status(), status);
}

#[actix_web::test]
async fn response_429_of_the_middleware_has_retry_after_and_the_configured_outcome() {
    let sessions = create_sessions();
    let auth = BearerAuth::new(sessions.clone());
    let limit = LimitInvalidTokens::new(sessions, create_limiter()).with_outcome("not_sent");
    let resource = web::resource("/").wrap(auth).wrap(limit);
    let app = init_service(App::new().service(resource.route(web::get().to(handler)))).await;
    for _ in 0..BURST {
        send!(&app, ADDRESS, "Bearer x");
    }
    let refused = send!(&app, ADDRESS, "Bearer x");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers().get(header::RETRY_AFTER).unwrap(), "1");
    let body: serde_json::Value = read_body_json(refused).await;
    assert_eq!(body["outcome"], "not_sent");
}

/// The middleware adds `outcome` only to its own 429 responses. A 429 response of the handler keeps
/// the `outcome` that the handler has set.
#[actix_web::test]
async fn response_429_of_the_handler_keeps_its_own_outcome() {
    let sessions = create_sessions();
    let limit = LimitInvalidTokens::new(sessions, create_limiter()).with_outcome("not_sent");
    let problem = || async {
        let problem = ProblemDetails::new(ProblemCode::TOO_MANY_REQUESTS, "x");
        problem.with_outcome("unknown").response()
    };
    let resource = web::resource("/").wrap(limit).route(web::get().to(problem));
    let app = init_service(App::new().service(resource)).await;
    let body: serde_json::Value = read_body_json(send!(&app, ADDRESS, "Bearer x")).await;
    assert_eq!(body["outcome"], "unknown");
}

/// A rotation invalidates the token of its request, so the repetition of the request has an invalid
/// token. Only the inner service can recognise the repetition, by its `Idempotency-Key`.
#[rstest]
#[case::possible_repetition(TestRequest::post().insert_header(IDEMPOTENCY_KEY), StatusCode::OK)]
#[case::no_key(TestRequest::post(), StatusCode::TOO_MANY_REQUESTS)]
#[case::other_method(
    TestRequest::get().insert_header(IDEMPOTENCY_KEY),
    StatusCode::TOO_MANY_REQUESTS
)]
#[actix_web::test]
async fn client_over_the_limit_reaches_the_inner_service_only_by_post_with_an_idempotency_key(
    #[case] request: TestRequest,
    #[case] status: StatusCode,
) {
    let (sessions, limiter) = (create_sessions(), create_limiter());
    let client = "192.0.2.1".parse().unwrap();
    while limiter.as_ref().unwrap().take(client) {}
    let limit = LimitInvalidTokens::new(sessions, limiter);
    let replayed = web::route().to(HttpResponse::Ok);
    let app =
        init_service(App::new().service(web::resource("/").wrap(limit).route(replayed))).await;
    let request = request.peer_addr(ADDRESS.parse().unwrap());
    let authorization = (header::AUTHORIZATION, bearer(&SessionToken::generate()));
    let response = call_service(&app, request.insert_header(authorization).to_request()).await;
    assert_eq!(response.status(), status);
}

#[actix_web::test]
async fn without_a_limiter_every_invalid_token_gets_401() {
    let sessions = create_sessions();
    let app = start!(sessions, None);
    for _ in 0..3 * BURST {
        assert_eq!(
            send!(&app, ADDRESS, "Bearer x").status(),
            StatusCode::UNAUTHORIZED
        );
    }
}
