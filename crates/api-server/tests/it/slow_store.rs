//! A store that answers, but late each time.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use reqwest::{Body, Method, StatusCode};
use rstest::rstest;
use tee_session_api_server::InvalidTokenLimit;
use tokio::time::sleep;

use crate::{
    hooked_repository::HookedRepository,
    test_app::{Store, TestApp, assert_problem},
};

/// Just within the bound of one call.
const DELAY: Duration = Duration::from_millis(450);

const MOST: Duration = Duration::from_millis(1_000);

/// Over the limit a token is looked up once more, so that each of these takes three calls.
#[rstest]
#[case::logout(Method::DELETE, "/v1/session")]
#[case::update(Method::PATCH, "/v1/session")]
#[case::rotation(Method::POST, "/v1/session/rotate")]
#[tokio::test]
async fn every_answer_comes_within_its_time_however_many_calls_it_takes(
    #[case] method: Method,
    #[case] path: &str,
) {
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

    let request = app.request(method, path).bearer_auth(&token);
    let request = request.header("content-type", "application/merge-patch+json");
    let asked = Instant::now();
    let response = request.body("{}").send().await.unwrap();
    let took = asked.elapsed();
    assert_problem(response, 503, "store_unavailable").await;
    // Three calls take longer; and a busy machine adds to it.
    assert!(took < 2 * MOST, "{took:?}");
}

/// The time of an answer begins when its request was read, the body included.
#[tokio::test]
async fn a_body_that_takes_its_time_leaves_the_store_its_own() {
    let within = Duration::from_millis(300);
    let app = TestApp::builder()
        .with(|settings| settings.answer_timeout = within)
        .spawn(Store::Memory)
        .await;
    let token = app.log_in().await;
    let pieces = futures_util::stream::unfold(0, async |n| {
        let piece = ["{", "}"].get(n)?;
        sleep(Duration::from_millis(250)).await;
        Some((Ok::<_, std::io::Error>(*piece), n + 1))
    });
    let request = app
        .request(Method::PATCH, "/v1/session")
        .bearer_auth(&token);
    let request = request.header("content-type", "application/merge-patch+json");
    let asked = Instant::now();
    let response = request.body(Body::wrap_stream(pieces)).send().await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    assert!(asked.elapsed() > within, "{:?}", asked.elapsed());
}
