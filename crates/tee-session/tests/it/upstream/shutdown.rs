//! Tests of SIGTERM while requests to sites are in flight.

use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use tee_session_test_support::{TestSite, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    time::Instant,
};

use super::{GATEWAY_FLAGS, token_for};
use crate::service::{self, Service};

const CALLS: usize = 6;

/// Starts a site that answers requests only after `allowed` has become `true`.
async fn waiting_site(allowed: watch::Receiver<bool>) -> TestSite {
    TestSite::start(move |mut stream, seen| {
        let mut allowed = allowed.clone();
        async move {
            seen.read_request(&mut stream).await;
            tokio::select! {
                _ = allowed.wait_for(|allowed| *allowed) => {}
                // Ends when the service closes the connection.
                _ = stream.read_u8() => return,
            }
            let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: sid=2\r\nContent-Length: 2\r\n\r\nok";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

async fn start(more_flags: &[&str]) -> Service {
    service::start(&[GATEWAY_FLAGS.as_slice(), more_flags].concat()).await
}

/// Sends [`CALLS`] requests through the gateway, and waits until the site has received all of them.
async fn send_calls(
    service: &Service,
    site: &TestSite,
) -> Vec<tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>> {
    let token = token_for(service, &site.url()).await;
    let calls = (0..CALLS).map(|index| {
        let call = service.request(Method::POST, &format!("/v1/upstream/book/{index}"));
        tokio::spawn(call.bearer_auth(&token).send())
    });
    let calls = calls.collect();
    eventually(Duration::from_secs(10), async || {
        site.seen().total() == CALLS
    })
    .await;
    calls
}

#[tokio::test]
async fn requests_to_a_site_in_flight_at_sigterm_are_answered_before_the_service_exits() {
    let (allow, allowed) = watch::channel(false);
    let site = waiting_site(allowed).await;
    let mut service = start(&[]).await;
    let calls = send_calls(&service, &site).await;
    service.signal(Signal::SIGTERM);
    eventually(Duration::from_secs(10), async || {
        !service.events("Shutting down").is_empty()
    })
    .await;
    allow.send_replace(true);
    for call in calls {
        let response = call.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.text().await.unwrap(), "ok");
    }
    let ended = service.ended(Duration::from_secs(15)).await;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(site.seen().total(), CALLS);
}

#[tokio::test]
async fn request_to_a_hanging_site_delays_the_exit_by_at_most_the_shutdown_timeout() {
    let (_allow, allowed) = watch::channel(false);
    let site = waiting_site(allowed).await;
    let mut service = start(&["--shutdown-timeout", "1"]).await;
    let calls = send_calls(&service, &site).await;
    let began = Instant::now();
    service.signal(Signal::SIGTERM);
    service.ended(Duration::from_secs(15)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    for call in calls {
        // Either the connection was closed without a response, or the response says that the
        // outcome is unknown.
        if let Ok(response) = call.await.unwrap() {
            let problem: serde_json::Value = response.json().await.unwrap();
            assert_ne!(problem["outcome"], "not_sent", "{problem}");
        }
    }
    assert_eq!(site.seen().total(), CALLS);
}
