//! Tests that a slow site does not delay other requests.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_api_server::UpstreamSettings;
use tee_session_test_support::{TestSite, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::{OK, gateway_with, with_metrics};
use crate::{
    metrics::scrape,
    test_app::{Store, TestApp, assert_problem},
};

/// Starts a site that receives requests and never answers.
async fn hanging_site() -> TestSite {
    TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        let _ = stream.read_u8().await;
    })
    .await
}

/// Aborts calls to a hanging site. Asserts that all of them were still waiting for an answer.
fn end_hanging<T>(calls: impl IntoIterator<Item = JoinHandle<T>>) {
    for call in calls {
        assert!(!call.is_finished(), "a call has ended");
        call.abort();
    }
}

#[tokio::test]
async fn requests_to_a_hanging_site_above_its_share_return_503_and_other_requests_are_served() {
    let (hanging, healthy) = (hanging_site().await, TestSite::answering(OK).await);
    let limits = |upstream: &mut UpstreamSettings| {
        upstream.limits.max_in_flight = 16;
        upstream.limits.wait = Duration::from_millis(100);
        upstream.client.response_timeout = Duration::from_secs(20);
    };
    let app = TestApp::builder()
        .with(gateway_with(limits))
        .with(|settings| settings.max_in_flight = 1)
        .spawn(Store::Memory)
        .await;
    let mut calls = Vec::new();
    for _ in 0..4 {
        let token = app.log_in_to(&hanging).await;
        calls.push(tokio::spawn(app.upstream(Method::GET, &token, "/").send()));
    }
    eventually(Duration::from_secs(5), async || hanging.seen().total() == 4).await;

    // The exchanges with one site may use a quarter of all places.
    let token = app.log_in_to(&hanging).await;
    let started = Instant::now();
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let problem = assert_problem(response, 503, "upstream_busy").await;
    assert_eq!(problem["outcome"], "not_sent");
    assert!(started.elapsed() < Duration::from_secs(5));

    let token = app.log_in_to(&healthy).await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "ok");
    let mut durations = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
        durations.push(began.elapsed());
    }
    durations.sort();
    // The calls to the hanging site end after 20 s.
    assert!(durations[10] < Duration::from_secs(5), "{durations:?}");
    assert_eq!(hanging.seen().total(), 4);
    end_hanging(calls);
}

#[tokio::test]
async fn too_many_concurrent_requests_of_one_session_to_its_site_return_503_upstream_busy() {
    let hanging = hanging_site().await;
    let limits = |upstream: &mut UpstreamSettings| {
        upstream.limits.session_concurrency = 1;
        upstream.limits.wait = Duration::from_millis(100);
    };
    let app = TestApp::builder()
        .with(gateway_with(limits))
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&hanging).await;
    let call = tokio::spawn(app.upstream(Method::GET, &token, "/").send());
    eventually(Duration::from_secs(5), async || hanging.seen().total() == 1).await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    let problem = assert_problem(response, 503, "upstream_busy").await;
    assert_eq!(problem["outcome"], "not_sent");
    end_hanging([call]);
}

#[tokio::test]
async fn requests_over_the_total_limit_of_the_gateway_return_the_problem_overloaded_at_once() {
    let (hanging, other) = (hanging_site().await, hanging_site().await);
    let limits = |upstream: &mut UpstreamSettings| {
        upstream.limits.max_in_flight = 4;
        upstream.limits.wait = Duration::from_secs(20);
    };
    let app = TestApp::builder()
        .with(gateway_with(limits))
        .with(with_metrics)
        .spawn(Store::Memory)
        .await;
    let mut calls = Vec::new();
    // Each site has one place, and one request may wait for it.
    for site in [&hanging, &hanging, &other, &other] {
        let token = app.log_in_to(site).await;
        calls.push(tokio::spawn(app.upstream(Method::GET, &token, "/").send()));
    }
    let token = app.log_in_to(&hanging).await;
    eventually(Duration::from_secs(10), async || {
        let scraped = scrape(&app).await;
        scraped.contains("tee_session_upstream_in_flight 4\n")
    })
    .await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "overloaded");
    assert_eq!(problem["outcome"], "not_sent");
    let scraped = scrape(&app).await;
    for line in [
        r#"tee_session_upstream_requests_total{site="unknown",outcome="overloaded"} 1"#,
        "tee_session_requests_shed_total 0",
    ] {
        assert!(scraped.lines().any(|served| served == line), "no {line}");
    }
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    end_hanging(calls);
}

#[rstest]
#[case::announced_length("Content-Length: 100\r\n\r\nx")]
#[case::chunked("Transfer-Encoding: chunked\r\n\r\n64\r\nx")]
#[tokio::test]
async fn stalled_request_bodies_do_not_use_up_the_limit_of_the_gateway_and_return_408(
    #[case] start: &str,
) {
    let site = TestSite::answering(OK).await;
    let limits = |upstream: &mut UpstreamSettings| upstream.limits.max_in_flight = 4;
    let app = TestApp::builder()
        .with(gateway_with(limits))
        .spawn(Store::Memory)
        .await;
    let stalling = app.log_in_to(&site).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        let head = format!(
            "POST /v1/upstream/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {stalling}\r\n"
        );
        stream.write_all((head + start).as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    for token in [&stalling, &app.log_in_to(&site).await] {
        for method in [Method::GET, Method::POST] {
            let request = app.upstream(method, token, "/").body("whole");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
    }
    assert_eq!(site.seen().total(), 4);

    // The timeout of a body is 15 s.
    let mut answer = Vec::new();
    stalled[0].read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(r#""outcome":"not_sent""#), "{answer}");
}
