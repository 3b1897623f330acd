//! `BearerAuth`, `CurrentSession` and `BearerToken`, over the framework's own test server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, HttpResponse,
    body::to_bytes,
    http::{StatusCode, header},
    test::{TestRequest, call_service, init_service},
    web,
};
use rstest::rstest;
use tee_session_auth_middleware::{AuthError, BearerAuth, BearerToken, CurrentSession};
use tee_session_domain::{
    BaseUrl, Cookies, InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError,
    RevisedSession, Revision, Session, SessionManager, SessionPolicy, SessionRepository,
    SessionToken, SwapOutcome,
};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_test_support::CapturedLogs;

const BARE: &str = r#"Bearer realm="tee-session""#;
const INVALID_TOKEN: &str = r#"Bearer realm="tee-session", error="invalid_token", error_description="Invalid or expired session token""#;

/// A memory repository that counts look-ups and can fail like a store that is away.
#[derive(Clone, Default)]
struct Watched {
    inner: MemoryRepository,
    calls: Arc<AtomicUsize>,
    fault: Option<fn() -> RepositoryError>,
}

impl Watched {
    fn failing(fault: fn() -> RepositoryError) -> Self {
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

impl SessionRepository for Watched {
    type Subjects = MemoryRepository;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.inner.insert(token, session, ttl).await
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        self.call()?;
        self.inner.fetch_and_slide(token, ttl).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        self.call()?;
        self.inner.peek(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.call()?;
        self.inner.remove(token).await
    }

    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        self.inner.fetch_revision(token).await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        self.inner.compare_and_swap(token, seen, session, ttl).await
    }

    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
        self.inner.relocate(from, seen, to, session, ttl).await
    }

    fn subjects(&self) -> &Self::Subjects {
        self.inner.subjects()
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.call()
    }

    fn now(&self) -> time::OffsetDateTime {
        self.inner.now()
    }
}

async fn stored(sessions: &SessionManager<Watched>) -> SessionToken {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    let base_url = BaseUrl::new("https://golf.example/members").unwrap();
    sessions.store(cookies, base_url).await.unwrap().token
}

struct Answer {
    status: StatusCode,
    challenge: Option<String>,
    retry_after: Option<String>,
    cache_control: Option<String>,
    body: String,
}

/// One request to an application whose handler shows the session's base URL and token prefix.
async fn get(repository: Watched, authorization: &[&[u8]]) -> Answer {
    async fn show(current: CurrentSession) -> HttpResponse {
        let url = current.session.base_url.as_str();
        HttpResponse::Ok().body(format!("{url} {}", current.token().prefix()))
    }

    let sessions = web::Data::new(SessionManager::new(repository, SessionPolicy::default()));
    let auth = BearerAuth::new(sessions);
    let app = init_service(App::new().route("/", web::get().to(show).wrap(auth))).await;
    let mut request = TestRequest::get();
    for field in authorization {
        let field = header::HeaderValue::from_bytes(field).unwrap();
        request = request.append_header((header::AUTHORIZATION, field));
    }
    let response = call_service(&app, request.to_request()).await;
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
        body: String::from_utf8(to_bytes(response.into_body()).await.unwrap().to_vec()).unwrap(),
    }
}

#[actix_web::test]
async fn get_current_session_returns_session_data() {
    let repository = Watched::default();
    let sessions = SessionManager::new(repository.clone(), SessionPolicy::default());
    let token = stored(&sessions).await;
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
    let answer = get(Watched::default(), &[unknown.as_bytes()]).await;
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
    let answer = get(Watched::default(), &[]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.challenge.as_deref(), Some(BARE));
    assert!(
        answer.body.contains(r#""code":"missing_token""#),
        "{}",
        answer.body
    );
}

#[rstest]
#[case::missing(&[], 401, "missing_token")]
#[case::another_scheme(&[b"Basic dXNlcjpwYXNz".as_slice()], 401, "missing_token")]
#[case::twice(&[b"Bearer x".as_slice(), b"Bearer x"], 400, "invalid_request")]
#[case::two_schemes(&[b"Basic x".as_slice(), b"Bearer x"], 400, "invalid_request")]
#[case::no_token(&[b"Bearer".as_slice()], 400, "invalid_request")]
#[case::two_words(&[b"Bearer a b".as_slice()], 400, "invalid_request")]
#[case::no_uuid(&[b"Bearer x".as_slice()], 401, "invalid_token")]
#[case::upper_case(&[b"Bearer 1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED".as_slice()], 401, "invalid_token")]
#[case::high_bytes(&[b"Bearer \xff\xff".as_slice()], 401, "invalid_token")]
#[actix_web::test]
async fn what_is_no_token_never_reaches_the_store(
    #[case] authorization: &[&[u8]],
    #[case] status: u16,
    #[case] code: &str,
) {
    let repository = Watched::default();
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
async fn a_store_that_is_away_is_503_without_a_challenge_and_its_reason_stays_inside() {
    let logs = CapturedLogs::start();
    let repository =
        Watched::failing(|| RepositoryError::unavailable("connection to 10.9.8.7 refused"));
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
async fn a_corrupt_record_looks_like_any_other_invalid_token() {
    let repository = Watched::failing(|| RepositoryError::corrupt("not a session"));
    let field = format!("Bearer {}", SessionToken::generate().expose_secret());
    let corrupt = get(repository, &[field.as_bytes()]).await;
    let unknown = get(Watched::default(), &[field.as_bytes()]).await;
    assert_eq!(corrupt.status, unknown.status);
    assert_eq!(corrupt.challenge, unknown.challenge);
    assert_eq!(corrupt.body, unknown.body);
}

#[actix_web::test]
async fn the_token_extractor_gives_the_token_without_a_look_up() {
    async fn prefix(token: BearerToken) -> String {
        token.0.prefix().to_string()
    }

    let app = init_service(App::new().route("/", web::delete().to(prefix))).await;
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
async fn current_session_outside_the_middleware_is_a_programming_error() {
    let logs = CapturedLogs::start();
    async fn show(_: CurrentSession) -> HttpResponse {
        HttpResponse::Ok().finish()
    }

    let app = init_service(App::new().route("/", web::get().to(show))).await;
    let response = call_service(&app, TestRequest::get().to_request()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let message = "CurrentSession is used on a route that BearerAuth does not wrap";
    assert_eq!(logs.events(message).len(), 1);
}

#[rstest]
#[case::not_found(AuthError::InvalidToken)]
#[case::missing(AuthError::MissingToken)]
#[case::unreadable(AuthError::InvalidRequest("x"))]
#[case::away(AuthError::Store(RepositoryError::unavailable("x")))]
fn every_answer_is_a_problem_of_its_status(#[case] error: AuthError) {
    use actix_web::ResponseError;

    let response = error.error_response();
    assert_eq!(response.status(), error.status_code());
    assert_eq!(
        response.headers().get("content-type").unwrap(),
        "application/problem+json"
    );
}
