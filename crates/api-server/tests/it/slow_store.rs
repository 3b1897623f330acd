//! Tests of `answer_timeout`, the maximum time from the end of a request to its response. The tests
//! use a store that replies slowly and a client that sends slowly.

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

/// Duration of each store call. The duration is just below the timeout of one store call.
const DELAY: Duration = Duration::from_millis(450);

const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Sends requests for which the service makes three slow store calls: one look-up of the token,
/// because the client address is over the limit of invalid tokens, and two calls that the request
/// itself requires.
#[rstest]
#[case::logout(Method::DELETE, "/v1/session")]
#[case::update(Method::PATCH, "/v1/session")]
#[tokio::test]
async fn request_with_several_slow_store_calls_returns_503_at_the_answer_timeout(
    #[case] method: Method,
    #[case] path: &str,
) {
    let app = TestApp::builder()
        .with(|settings| {
            settings.answer_timeout = ANSWER_TIMEOUT;
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
    let started = Instant::now();
    let response = request.body("{}").send().await.unwrap();
    let elapsed = started.elapsed();
    assert_problem(response, 503, "store_unavailable").await;
    // The margin allows for a busy machine.
    assert!(elapsed < 2 * ANSWER_TIMEOUT, "{elapsed:?}");
}

/// Checks that the answer timeout starts when the whole request was read, including the request
/// body.
#[tokio::test]
async fn answer_timeout_starts_after_the_request_body_was_read() {
    let answer_timeout = Duration::from_millis(300);
    let app = TestApp::builder()
        .with(|settings| settings.answer_timeout = answer_timeout)
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
    let started = Instant::now();
    let response = request.body(Body::wrap_stream(pieces)).send().await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    let elapsed = started.elapsed();
    assert!(elapsed > answer_timeout, "{elapsed:?}");
}
