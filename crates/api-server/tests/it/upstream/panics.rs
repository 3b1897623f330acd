//! Tests that a panic within an exchange ends the request and releases the permit of the exchange.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use reqwest::{Method, StatusCode};
use tee_session_api_server::UpstreamSettings;
use tee_session_test_support::TestSite;

use super::gateway_with;
use crate::{
    hooked_repository::HookedRepository,
    test_app::{TestApp, assert_problem},
};

#[tokio::test]
async fn panic_after_a_request_was_sent_returns_500_with_an_unknown_outcome() {
    let is_sent = Arc::<AtomicBool>::default();
    let panics = Arc::clone(&is_sent);
    // The store is called before the request, and again when the cookies of the answer are merged.
    let repository = HookedRepository::new(move |_| {
        let panics = panics.swap(false, Ordering::SeqCst);
        async move { assert!(!panics, "invalid state") }
    });
    let site = TestSite::answering_with(move |request| {
        is_sent.store(request.contains(" /book "), Ordering::SeqCst);
        "HTTP/1.1 200 OK\r\nSet-Cookie: sid=2; Path=/\r\nContent-Length: 2\r\n\r\nok"
    })
    .await;
    let one = |upstream: &mut UpstreamSettings| upstream.limits.session_concurrency = 1;
    let app = TestApp::builder()
        .with(gateway_with(one))
        .spawn_on(repository);
    app.until_ready().await;
    let token = app.log_in_to(&site).await;
    for _ in 0..3 {
        let call = app.upstream(Method::POST, &token, "/book");
        let response = call.send().await.unwrap();
        let problem = assert_problem(response, 500, "internal_error").await;
        assert_eq!(problem["outcome"], "unknown");
        // The place of the session is free again.
        let call = app.upstream(Method::GET, &token, "/");
        assert_eq!(call.send().await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(site.seen().requests("/book"), 3);
}
