//! Test of the gateway on two instances with a near cache (copies of sessions in memory).

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use tee_session_test_support::{RedisProcess, TestSite};

use super::{start_gateway_with, token_for};

/// Number of rounds of the test. In each round, a request through the first instance changes the
/// cookie, and then a request through the second instance must send the new cookie.
const ROUNDS: usize = 100;

#[tokio::test]
async fn request_through_another_instance_with_a_near_cache_sends_the_newest_cookie_at_once() {
    let value = AtomicUsize::new(0);
    let site = TestSite::answering_with(move |request| {
        let current = value.load(Ordering::SeqCst);
        let expected = format!("\r\nCookie: sid={current}\r\n");
        if current > 0 && !request.contains(&expected) {
            return "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        let next = current + 1;
        value.store(next, Ordering::SeqCst);
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: sid={next}; Path=/\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    let redis = RedisProcess::start().await;
    let flags = ["--near-cache", "true", "--session-touch-interval", "60"];
    let first = start_gateway_with(&redis, &flags).await;
    let second = start_gateway_with(&redis, &flags).await;
    let token = token_for(&first, &site.url()).await;
    for round in 0..ROUNDS {
        // Several accesses are needed until the second instance has a copy of the session: the
        // first access touches the session, and a touch removes all copies.
        for _ in 0..3 {
            let status = second.status(Method::GET, "/v1/session", &token).await;
            assert_eq!(status, StatusCode::OK);
        }
        for instance in [&first, &second] {
            let call = instance.status(Method::GET, "/v1/upstream/rotate", &token);
            assert_eq!(call.await, StatusCode::OK, "round {round}");
        }
    }
    assert_eq!(site.seen().total(), 2 * ROUNDS);
}
