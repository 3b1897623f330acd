//! Tests of the log events of failed requests, and of the problems of these requests.

use std::time::Instant;

use actix_web::{ResponseError, http::StatusCode};
use rstest::rstest;
use tee_session_auth_middleware::AuthError;
use tee_session_domain::{
    RepositoryError, SessionError, SessionManager, SessionPolicy, SessionToken,
};
use tee_session_test_support::CapturedLogs;

use crate::current_session::CountingRepository;

const UNAVAILABLE: &str = "Request failed: session store unavailable";
const FULL: &str = "Request failed: session store full";
const CORRUPT_INDEX: &str = "Request failed: subject index corrupt";

fn of(error: RepositoryError) -> AuthError {
    SessionError::from(error).into()
}

#[rstest]
#[case::unavailable(
    of(RepositoryError::unavailable("x")),
    503,
    "store_unavailable",
    Some(UNAVAILABLE)
)]
#[case::newer_record(
    of(RepositoryError::newer_record("x")),
    503,
    "store_unavailable",
    Some(UNAVAILABLE)
)]
#[case::full(of(RepositoryError::full("x")), 503, "store_full", Some(FULL))]
#[case::corrupt_index(
    of(RepositoryError::corrupt_index("x")),
    500,
    "internal_error",
    Some(CORRUPT_INDEX)
)]
#[case::contended(SessionError::Contended.into(), 503, "overloaded", None)]
#[case::limit(SessionError::TooManySessions.into(), 409, "session_limit_reached", None)]
#[case::not_found(SessionError::NotFound.into(), 401, "invalid_token", None)]
#[case::not_found_in_session_error(
    AuthError::Session(SessionError::NotFound),
    401,
    "invalid_token",
    None
)]
#[case::missing_token(AuthError::MissingToken, 401, "missing_token", None)]
#[case::invalid_request(AuthError::InvalidRequest("x"), 400, "invalid_request", None)]
#[case::too_many_invalid_tokens(AuthError::TooManyInvalidTokens, 429, "too_many_requests", None)]
fn only_failures_of_the_store_are_logged_and_each_error_has_its_problem_code(
    #[case] error: AuthError,
    #[case] status: u16,
    #[case] code: &str,
    #[case] message: Option<&str>,
) {
    let logs = CapturedLogs::start();
    let response = error.error_response();
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
    assert_eq!(error.problem().code().name(), code);
    for event in [UNAVAILABLE, FULL, CORRUPT_INDEX] {
        let expected = usize::from(message == Some(event));
        assert_eq!(logs.events(event).len(), expected, "{event}");
    }
}

#[test]
fn failures_of_the_store_are_logged_once_per_second() {
    let logs = CapturedLogs::start();
    let error = of(RepositoryError::unavailable("x"));
    let started = Instant::now();
    for _ in 0..10 {
        error.log_failure();
    }
    assert_limited(&logs, UNAVAILABLE, 1, started);
}

/// Asserts that `event` was logged since the time `started`, at most `per_second` times per second.
pub(crate) fn assert_limited(
    logs: &CapturedLogs,
    event: &str,
    per_second: usize,
    started: Instant,
) {
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let most = per_second * (1 + seconds);
    let logged = logs.events(event).len();
    assert!((1..=most).contains(&logged), "{logged} of at most {most}");
}

#[test]
fn log_lines_of_each_kind_of_store_failure_have_their_own_rate_limit() {
    let logs = CapturedLogs::start();
    for error in [
        RepositoryError::unavailable("x"),
        RepositoryError::full("x"),
        RepositoryError::corrupt_index("x"),
    ] {
        of(error).log_failure();
    }
    for event in [UNAVAILABLE, FULL, CORRUPT_INDEX] {
        assert_eq!(logs.events(event).len(), 1, "{event}");
    }
}

#[rstest]
#[case::unknown_token(
    CountingRepository::default(),
    "Session delete attempted (not found)",
    100
)]
#[case::corrupt_record(
    CountingRepository::failing(|| RepositoryError::corrupt("x")),
    "Session record is corrupt",
    10
)]
#[actix_web::test]
async fn log_lines_of_deletions_with_unknown_tokens_or_corrupt_records_are_limited_per_second(
    #[case] repository: CountingRepository,
    #[case] event: &str,
    #[case] per_second: usize,
) {
    let logs = CapturedLogs::start();
    let sessions = SessionManager::new(repository, SessionPolicy::default());
    let started = Instant::now();
    for _ in 0..3 * per_second {
        let _ = sessions.delete(&SessionToken::generate()).await;
    }
    assert_limited(&logs, event, per_second, started);
}

#[actix_web::test]
async fn log_lines_of_requests_with_unknown_tokens_are_limited_to_100_per_second() {
    let logs = CapturedLogs::start();
    let sessions = SessionManager::new(CountingRepository::default(), SessionPolicy::default());
    let started = Instant::now();
    for _ in 0..300 {
        let _ = sessions.get(&SessionToken::generate()).await;
    }
    assert_limited(&logs, "Session not found", 100, started);
}
