//! Tests that a panic in a request handler does not stop the service and reveals no details.

use reqwest::Method;
use rstest::rstest;

use crate::{
    hooked_repository::HookedRepository,
    test_app::{TestApp, assert_problem},
};

/// A request id that has the length of a token. Responses must contain this id, because it is not
/// the token of the request.
const REQUEST_ID: &str = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";

/// Checks a panic in a request handler, and a panic in a background task. Logouts and token
/// rotations run in a background task, independently of their request.
#[rstest]
#[case::in_the_request(Method::GET, "/v1/session")]
#[case::in_the_task_of_a_logout(Method::DELETE, "/v1/session")]
#[case::in_the_task_of_a_rotation(Method::POST, "/v1/session/rotate")]
#[case::after_the_form_was_read(Method::POST, "/v1/introspect")]
#[tokio::test]
async fn panic_in_a_request_returns_500_without_details_and_the_service_keeps_running(
    #[case] method: Method,
    #[case] path: &str,
) {
    // The panic message contains the session token. The response must not contain this token.
    let panicking = HookedRepository::new(|token| {
        let secret = token.expose_secret().to_owned();
        async move { panic!("invalid state for {secret}") }
    });
    let app = TestApp::builder().spawn_on(panicking);
    app.until_ready().await;
    let token = app.log_in().await;
    for _ in 0..3 {
        let request = app.request(method.clone(), path);
        let request = request.header("x-request-id", REQUEST_ID);
        let request = match path {
            "/v1/introspect" => request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("token={token}")),
            _ => request.bearer_auth(&token),
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"], REQUEST_ID);
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["connection"], "close");
        let problem = assert_problem(response, 500, "internal_error").await;
        assert!(!problem.to_string().contains(&token), "{problem}");
    }
    app.log_in().await;
}
