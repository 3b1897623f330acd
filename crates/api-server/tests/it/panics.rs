//! A bug in the middle of a request: the last resort.

use std::time::Duration;

use tee_session_api_server::{ApiSettings, Application};
use tee_session_domain::{
    InsertOutcome, PeekedSession, RepositoryError, Session, SessionRepository, SessionToken,
};
use tee_session_memory_adapter::MemoryRepository;
use time::OffsetDateTime;

use crate::test_app::{TestApp, assert_problem};

/// Panics at each access, with everything in its message that must not get out.
#[derive(Clone, Default)]
struct Panicking(MemoryRepository);

impl SessionRepository for Panicking {
    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.0.insert(token, session, ttl).await
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        _: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        panic!("no sound state for {}", token.expose_secret());
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        self.0.peek(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.0.remove(token).await
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.0.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        self.0.now()
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_says_nothing_and_the_service_goes_on() {
    let settings = ApiSettings {
        address: ([127, 0, 0, 1], 0).into(),
        workers: 1,
        ..ApiSettings::default()
    };
    let app = TestApp::run(move || Application::build(settings, Panicking::default));
    app.until_ready().await;
    let token = app.log_in().await;
    for _ in 0..3 {
        let request = app.request(reqwest::Method::GET, "/v1/session");
        let request = request.header("x-request-id", "r-1").bearer_auth(&token);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"], "r-1");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["connection"], "close");
        let problem = assert_problem(response, 500, "internal_error").await;
        assert!(!problem.to_string().contains(&token), "{problem}");
    }
    assert_eq!(app.get_ttl(&token).await.status(), 200);
}
