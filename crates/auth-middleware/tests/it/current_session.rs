//! Tests of `BearerAuth`, `CurrentSession` and `BearerToken`, with the test service of Actix Web.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpResponse,
    body::{MessageBody, to_bytes},
    dev::ServiceResponse,
    http::{StatusCode, header},
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use rstest::rstest;
use tee_session_auth_middleware::{AuthError, BearerAuth, BearerToken, CurrentSession};
use tee_session_domain::{
    BaseUrl, Cookies, RepositoryError, RepositoryLayer, Session, SessionError, SessionManager,
    SessionPolicy, SessionRepository, SessionToken, SessionWithTtl,
};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_test_support::CapturedLogs;

use crate::failure_log::assert_limited;

const CHALLENGE_WITHOUT_ERROR: &str = r#"Bearer realm="tee-session""#;
const INVALID_TOKEN: &str = r#"Bearer realm="tee-session", error="invalid_token", error_description="Invalid or expired session token""#;

/// A session repository in memory that counts look-ups, deletions and pings. If `fault` is set,
/// each look-up, deletion or ping fails with the error that `fault` returns.
#[derive(Clone, Default)]
pub(crate) struct CountingRepository {
    inner: MemoryRepository,
    calls: Arc<AtomicUsize>,
    fault: Option<fn() -> RepositoryError>,
}

impl CountingRepository {
    pub(crate) fn failing(fault: fn() -> RepositoryError) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }

    fn call(&self) -> Result<(), RepositoryError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.fault.map_or(Ok(()), |fault| Err(fault()))
    }
}

impl RepositoryLayer for CountingRepository {
    type Inner = MemoryRepository;

    fn inner(&self) -> &MemoryRepository {
        &self.inner
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        self.call()?;
        self.inner.load_and_touch(token, ttl).await
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        self.call()?;
        self.inner.load(token).await
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        self.call()?;
        self.inner.load_with_ttl(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.call()?;
        self.inner.remove(token).await
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.call()
    }
}

pub(crate) async fn store_session(sessions: &SessionManager<CountingRepository>) -> SessionToken {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    let base_url = BaseUrl::new("https://golf.example/members").unwrap();
    sessions.store(cookies, base_url).await.unwrap().token
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    challenge: Option<String>,
    retry_after: Option<String>,
    cache_control: Option<String>,
    pub(crate) body: String,
}

/// Sends one request to an application with the middleware `BearerAuth`. The handler returns the
/// session's base URL and the prefix of the token. `authorization` contains the values of the
/// `Authorization` header fields.
async fn get(repository: CountingRepository, authorization: &[&[u8]]) -> Answer {
    async fn handler(current: CurrentSession) -> HttpResponse {
        let url = current.session.base_url.as_str();
        HttpResponse::Ok().body(format!("{url} {}", current.token().prefix()))
    }

    let sessions = web::Data::new(SessionManager::new(repository, SessionPolicy::default()));
    let auth = BearerAuth::new(sessions);
    let app = init_service(App::new().route("/", web::get().to(handler).wrap(auth))).await;
    let mut request = TestRequest::get();
    for field in authorization {
        let field = header::HeaderValue::from_bytes(field).unwrap();
        request = request.append_header((header::AUTHORIZATION, field));
    }
    read_answer(call_service(&app, request.to_request()).await).await
}

pub(crate) async fn read_answer(response: ServiceResponse<impl MessageBody>) -> Answer {
    let field = |name| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    Answer {
        status: response.status(),
        challenge: field(header::WWW_AUTHENTICATE),
        retry_after: field(header::RETRY_AFTER),
        cache_control: field(header::CACHE_CONTROL),
        body: String::from_utf8(read_body(response).await.to_vec()).unwrap(),
    }
}

#[actix_web::test]
async fn get_current_session_returns_session_data() {
    let repository = CountingRepository::default();
    let sessions = SessionManager::new(repository.clone(), SessionPolicy::default());
    let token = store_session(&sessions).await;
    let field = format!("Bearer {}", token.expose_secret());
    let answer = get(repository.clone(), &[field.as_bytes()]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body,
        format!("https://golf.example/members {}", token.prefix())
    );
    assert_eq!(
        repository.calls.load(Ordering::Relaxed),
        1,
        "one call to the store"
    );
}

#[actix_web::test]
async fn get_current_session_raises_401_for_invalid_token() {
    let unknown = format!("Bearer {}", SessionToken::generate().expose_secret());
    let answer = get(CountingRepository::default(), &[unknown.as_bytes()]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.challenge.as_deref(), Some(INVALID_TOKEN));
    assert_eq!(answer.cache_control.as_deref(), Some("no-store"));
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        problem,
        serde_json::json!({
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "Invalid or expired session token",
            "code": "invalid_token",
        })
    );
}

#[actix_web::test]
async fn get_current_session_raises_401_for_missing_token() {
    let answer = get(CountingRepository::default(), &[]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.challenge.as_deref(), Some(CHALLENGE_WITHOUT_ERROR));
    assert!(
        answer.body.contains(r#""code":"missing_token""#),
        "{}",
        answer.body
    );
}

#[rstest]
#[case::missing(&[], 401, "missing_token")]
#[case::another_scheme(&[b"Basic dXNlcjpwYXNz".as_slice()], 401, "missing_token")]
#[case::repeated_field(&[b"Bearer x".as_slice(), b"Bearer x"], 400, "invalid_request")]
#[case::two_schemes(&[b"Basic x".as_slice(), b"Bearer x"], 400, "invalid_request")]
#[case::no_token(&[b"Bearer".as_slice()], 400, "invalid_request")]
#[case::two_words(&[b"Bearer a b".as_slice()], 400, "invalid_request")]
#[case::not_a_uuid(&[b"Bearer x".as_slice()], 401, "invalid_token")]
#[case::upper_case(&[b"Bearer 1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED".as_slice()], 401, "invalid_token")]
#[case::high_bytes(&[b"Bearer \xff\xff".as_slice()], 401, "invalid_token")]
#[actix_web::test]
async fn missing_or_malformed_token_is_rejected_without_a_store_call(
    #[case] authorization: &[&[u8]],
    #[case] status: u16,
    #[case] code: &str,
) {
    let repository = CountingRepository::default();
    let answer = get(repository.clone(), authorization).await;
    assert_eq!(answer.status.as_u16(), status);
    assert!(
        answer.body.contains(&format!(r#""code":"{code}""#)),
        "{}",
        answer.body
    );
    assert!(answer.challenge.unwrap().starts_with("Bearer realm="));
    assert_eq!(repository.calls.load(Ordering::Relaxed), 0);
}

#[actix_web::test]
async fn unavailable_store_returns_503_without_www_authenticate_header_or_error_details() {
    let logs = CapturedLogs::start();
    let repository = CountingRepository::failing(|| {
        RepositoryError::unavailable("connection to 10.9.8.7 refused")
    });
    let token = SessionToken::generate();
    let field = format!("Bearer {}", token.expose_secret());
    let answer = get(repository, &[field.as_bytes()]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.challenge, None);
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
    assert_eq!(answer.cache_control.as_deref(), Some("no-store"));
    assert!(
        answer.body.contains(r#""code":"store_unavailable""#),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("10.9.8.7"), "{}", answer.body);
    let failures = logs.events("Request failed: session store unavailable");
    assert_eq!(failures.len(), 1, "logged once: {}", logs.text());
    assert!(failures[0].contains("10.9.8.7"), "{failures:?}");
    assert!(!logs.text().contains(token.expose_secret()));
}

#[actix_web::test]
async fn token_of_a_corrupt_session_record_gets_the_same_response_as_an_unknown_token() {
    let repository = CountingRepository::failing(|| RepositoryError::corrupt("not a session"));
    let field = format!("Bearer {}", SessionToken::generate().expose_secret());
    let corrupt = get(repository, &[field.as_bytes()]).await;
    let unknown = get(CountingRepository::default(), &[field.as_bytes()]).await;
    assert_eq!(corrupt.status, unknown.status);
    assert_eq!(corrupt.challenge, unknown.challenge);
    assert_eq!(corrupt.body, unknown.body);
}

#[actix_web::test]
async fn bearer_token_extractor_parses_the_token_without_a_store_look_up() {
    async fn handler(token: BearerToken) -> String {
        token.0.prefix().to_string()
    }

    let app = init_service(App::new().route("/", web::delete().to(handler))).await;
    let token = SessionToken::generate();
    let field = ("Authorization", format!("Bearer {}", token.expose_secret()));
    let response = call_service(
        &app,
        TestRequest::delete().insert_header(field).to_request(),
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    let response = call_service(&app, TestRequest::delete().to_request()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let body = to_bytes(response.into_body()).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("missing_token"));
}

#[actix_web::test]
async fn current_session_extractor_without_bearer_auth_middleware_returns_500_and_logs_an_error() {
    let logs = CapturedLogs::start();
    async fn handler(_: CurrentSession) -> HttpResponse {
        HttpResponse::Ok().finish()
    }

    let app = init_service(App::new().route("/", web::get().to(handler))).await;
    // Further lines are left out, because at most one line per second is logged.
    let started = Instant::now();
    for _ in 0..10 {
        let response = call_service(&app, TestRequest::get().to_request()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(read_body(response).await, "Internal error");
    }
    let message = "CurrentSession is used on a route that BearerAuth does not wrap";
    assert_limited(&logs, message, 1, started);
}

#[rstest]
#[case::invalid_token(AuthError::InvalidToken)]
#[case::missing_token(AuthError::MissingToken)]
#[case::invalid_request(AuthError::InvalidRequest("x"))]
#[case::unavailable_store(SessionError::from(RepositoryError::unavailable("x")).into())]
#[case::full_store(SessionError::from(RepositoryError::full("x")).into())]
#[case::corrupt_record(SessionError::from(RepositoryError::corrupt("x")).into())]
fn error_response_is_problem_json_with_the_status_of_the_error(#[case] error: AuthError) {
    use actix_web::ResponseError;

    let response = error.error_response();
    assert_eq!(response.status(), error.status_code());
    assert_eq!(
        response.headers().get("content-type").unwrap(),
        "application/problem+json"
    );
}
