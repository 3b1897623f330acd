//! Tests of the setting `answer_timeout`, the maximum time to answer a request. The time that the
//! client takes to send the request body does not count. The tests use a slow store and a slow
//! client.

use std::time::{Duration, Instant};

use reqwest::{Body, Method, StatusCode};
use rstest::rstest;
use tokio::time::sleep;

use crate::{
    hooked_repository::HookedRepository,
    test_app::{Store, TestApp, allow_one_invalid_token, assert_problem},
};

/// Duration of each store call, just below the default timeout of a store call (500 ms).
const DELAY: Duration = Duration::from_millis(450);

const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Sends a request that needs three store calls. The client address is over the limit of invalid
/// tokens, so the service first checks the token with one store call. The request itself needs two
/// more.
#[rstest]
#[case::logout(Method::DELETE, "/v1/session")]
#[case::update(Method::PATCH, "/v1/session")]
#[tokio::test]
async fn request_that_needs_several_slow_store_calls_returns_503_after_the_answer_timeout(
    #[case] method: Method,
    #[case] path: &str,
) {
    let app = TestApp::builder()
        .with(|settings| {
            settings.answer_timeout = ANSWER_TIMEOUT;
            allow_one_invalid_token(settings);
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

/// Checks that the time that the client takes to send the request body does not count towards the
/// maximum time to answer the request.
#[tokio::test]
async fn time_to_send_the_request_body_does_not_count_towards_the_answer_timeout() {
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
