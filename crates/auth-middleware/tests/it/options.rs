//! Tests of the options of `BearerAuth`: optional authentication, and a query that is ignored.

use std::sync::Arc;

use actix_web::{
    App,
    http::{StatusCode, header},
    test::{TestRequest, call_service, init_service},
    web,
};
use rstest::rstest;
use tee_session_auth_middleware::{BearerAuth, BearerToken, CurrentSession};
use tee_session_domain::{RepositoryError, SessionManager, SessionPolicy, SessionToken};
use tee_session_test_support::CapturedLogs;

use crate::current_session::{Answer, CountingRepository, read_answer, store_session};

/// Sends one request to an application with `auth`. The response states whether there is a
/// session.
async fn get_optional(
    auth: BearerAuth<CountingRepository>,
    path: &str,
    authorization: Option<&str>,
) -> Answer {
    async fn handler(current: Option<CurrentSession>) -> &'static str {
        if current.is_some() {
            "session"
        } else {
            "no session"
        }
    }

    let app = init_service(App::new().route("/", web::get().to(handler).wrap(auth))).await;
    let mut request = TestRequest::with_uri(path);
    if let Some(authorization) = authorization {
        request = request.insert_header((header::AUTHORIZATION, authorization));
    }
    read_answer(call_service(&app, request.to_request()).await).await
}

#[actix_web::test]
async fn optional_authentication_accepts_requests_without_a_token_and_rejects_invalid_tokens() {
    let sessions = Arc::new(SessionManager::new(
        CountingRepository::default(),
        SessionPolicy::default(),
    ));
    let token = store_session(&sessions).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let unknown = SessionToken::generate();
    let unknown = format!("Bearer {}", unknown.expose_secret());
    let cases = [
        (None, StatusCode::OK, "no session"),
        (Some("Basic dXNlcjpwYXNz"), StatusCode::OK, "no session"),
        (Some(bearer.as_str()), StatusCode::OK, "session"),
        (
            Some(unknown.as_str()),
            StatusCode::UNAUTHORIZED,
            "invalid_token",
        ),
        (Some("Bearer x"), StatusCode::UNAUTHORIZED, "invalid_token"),
        (
            Some("Bearer a b"),
            StatusCode::BAD_REQUEST,
            "invalid_request",
        ),
    ];
    for (authorization, status, text) in cases {
        let auth = BearerAuth::new(Arc::clone(&sessions)).optional();
        let answer = get_optional(auth, "/", authorization).await;
        assert_eq!(answer.status, status, "{authorization:?}");
        assert!(answer.body.contains(text), "{}", answer.body);
    }
}

#[actix_web::test]
async fn optional_authentication_returns_503_if_the_store_is_unavailable() {
    let repository = CountingRepository::failing(|| RepositoryError::unavailable("down"));
    let sessions = Arc::new(SessionManager::new(repository, SessionPolicy::default()));
    let bearer = format!("Bearer {}", SessionToken::generate().expose_secret());
    let auth = BearerAuth::new(sessions).optional();
    let answer = get_optional(auth, "/", Some(&bearer)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[actix_web::test]
async fn optional_authentication_returns_401_without_a_token_if_the_handler_requires_a_session() {
    async fn handler(current: CurrentSession) -> String {
        current.session_id().to_string()
    }

    let logs = CapturedLogs::start();
    let sessions = SessionManager::new(CountingRepository::default(), SessionPolicy::default());
    let auth = BearerAuth::new(Arc::new(sessions)).optional();
    let app = init_service(App::new().route("/", web::get().to(handler).wrap(auth))).await;
    let answer = read_answer(call_service(&app, TestRequest::get().to_request()).await).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.body.contains("missing_token"), "{}", answer.body);
    assert!(!logs.text().contains("does not wrap"));
}

#[rstest]
#[case::usual(false, StatusCode::BAD_REQUEST)]
#[case::ignoring_query(true, StatusCode::OK)]
#[actix_web::test]
async fn token_in_the_query_is_ignored_only_with_the_option_ignoring_query(
    #[case] ignores_query: bool,
    #[case] expected: StatusCode,
) {
    let sessions = Arc::new(SessionManager::new(
        CountingRepository::default(),
        SessionPolicy::default(),
    ));
    let token = store_session(&sessions).await;
    let mut auth = BearerAuth::new(sessions);
    if ignores_query {
        auth = auth.ignoring_query();
    }
    let bearer = format!("Bearer {}", token.expose_secret());
    let answer = get_optional(auth, "/?access_token=of-the-app", Some(&bearer)).await;
    assert_eq!(answer.status, expected);
}

#[test]
fn bearer_token_dereferences_to_the_session_token() {
    let token = SessionToken::generate();
    assert_eq!(*BearerToken(token.clone()), token);
}
