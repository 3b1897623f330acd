//! A bug in the middle of a request: the last resort.

use crate::{
    hooked_repository::HookedRepository,
    test_app::{TestApp, assert_problem},
};

#[tokio::test]
async fn a_panic_is_a_500_that_says_nothing_and_the_service_goes_on() {
    // With everything in its message that must not get out.
    let panicking = HookedRepository::new(|token| {
        let secret = token.expose_secret().to_owned();
        async move { panic!("no sound state for {secret}") }
    });
    let app = TestApp::builder().spawn_on(panicking);
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
    app.log_in().await;
}
