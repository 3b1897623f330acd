//! A store that answers, but late each time.

use std::time::{Duration, Instant};

use tee_session_api_server::{ApiSettings, Application, InvalidTokenLimit};
use tee_session_domain::{
    InsertOutcome, PeekedSession, RepositoryError, Session, SessionRepository, SessionToken,
};
use tee_session_memory_adapter::MemoryRepository;
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::test_app::{TestApp, assert_problem};

/// Just within the bound of one call.
const DELAY: Duration = Duration::from_millis(450);

const MOST: Duration = Duration::from_millis(1_000);

#[derive(Clone, Default)]
struct Slow(MemoryRepository);

impl SessionRepository for Slow {
    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        sleep(DELAY).await;
        self.0.insert(token, session, ttl).await
    }

    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        sleep(DELAY).await;
        self.0.fetch_and_slide(token, ttl).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        sleep(DELAY).await;
        self.0.peek(token).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        sleep(DELAY).await;
        self.0.remove(token).await
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.0.ping().await
    }

    fn now(&self) -> OffsetDateTime {
        self.0.now()
    }
}

/// Over the limit a token is looked up once more, so that a logout takes three calls.
#[tokio::test]
async fn every_answer_comes_within_its_time_however_many_calls_it_takes() {
    let settings = ApiSettings {
        address: ([127, 0, 0, 1], 0).into(),
        workers: 1,
        answer_timeout: MOST,
        invalid_token_limit: Some(InvalidTokenLimit {
            burst: std::num::NonZeroU32::MIN,
            interval: Duration::from_secs(3_600),
        }),
        ..ApiSettings::default()
    };
    let app = TestApp::run(move || Application::build(settings, Slow::default));
    app.until_ready().await;
    let token = app.log_in().await;
    assert_eq!(app.get_session("x").await.status(), 401);
    assert_eq!(app.get_session("x").await.status(), 429);

    let asked = Instant::now();
    let response = app.log_out(&token).await;
    let took = asked.elapsed();
    assert_problem(response, 503, "store_unavailable").await;
    assert!(took < MOST + DELAY / 2, "{took:?}");
}
