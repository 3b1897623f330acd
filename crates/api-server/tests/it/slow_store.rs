//! A store that answers, but late each time.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use tee_session_api_server::InvalidTokenLimit;
use tokio::time::sleep;

use crate::{
    hooked_repository::HookedRepository,
    test_app::{TestApp, assert_problem},
};

/// Just within the bound of one call.
const DELAY: Duration = Duration::from_millis(450);

const MOST: Duration = Duration::from_millis(1_000);

/// Over the limit a token is looked up once more, so that a logout takes three calls.
#[tokio::test]
async fn every_answer_comes_within_its_time_however_many_calls_it_takes() {
    let app = TestApp::builder()
        .with(|settings| {
            settings.answer_timeout = MOST;
            settings.invalid_token_limit = Some(InvalidTokenLimit {
                burst: NonZeroU32::MIN,
                interval: Duration::from_secs(3_600),
            });
        })
        .spawn_on(HookedRepository::new(|_| sleep(DELAY)));
    app.until_ready().await;
    let token = app.log_in().await;
    assert_eq!(app.get_session("x").await.status(), 401);
    assert_eq!(app.get_session("x").await.status(), 429);

    let asked = Instant::now();
    let response = app.log_out(&token).await;
    let took = asked.elapsed();
    assert_problem(response, 503, "store_unavailable").await;
    // Three calls take longer; and a busy machine adds to it.
    assert!(took < 2 * MOST, "{took:?}");
}
