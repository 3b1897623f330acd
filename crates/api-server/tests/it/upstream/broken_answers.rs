//! Tests of the metrics for answers whose body does not arrive completely.

use std::time::Duration;

use futures_util::TryFutureExt;
use reqwest::{Method, Response};
use rstest::rstest;
use tee_session_api_server::UpstreamSettings;
use tee_session_test_support::{TestSite, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{gateway_with, with_metrics};
use crate::{
    metrics::scrape,
    test_app::{Store, TestApp},
};

async fn app(change: impl FnOnce(&mut UpstreamSettings)) -> TestApp {
    TestApp::builder()
        .with(gateway_with(change))
        .with(with_metrics)
        .spawn(Store::Memory)
        .await
}

/// Waits until one request is counted with the outcome `outcome`, and asserts that no other request
/// is counted.
async fn assert_counted(app: &TestApp, outcome: &str) {
    let expected =
        format!(r#"tee_session_upstream_requests_total{{site="127.0.0.1",outcome="{outcome}"}} 1"#);
    let counted = async || {
        let scraped = scrape(app).await;
        let lines = scraped.lines().map(str::to_owned);
        let lines = lines.filter(|line| line.starts_with("tee_session_upstream_requests_total{"));
        lines.collect::<Vec<_>>()
    };
    eventually(Duration::from_secs(5), async || !counted().await.is_empty()).await;
    assert_eq!(counted().await, [expected]);
}

#[rstest]
#[case::content_length("Content-Length: 9\r\n\r\nhello", true)]
#[case::chunked("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true)]
#[case::malformed_chunk("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", true)]
#[case::too_long(
    "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    true
)]
#[case::stalled("Content-Length: 9\r\n\r\nhello", false)]
#[tokio::test]
async fn answer_whose_body_breaks_off_is_counted_as_broken_off(
    #[case] answer: &'static str,
    #[case] closes: bool,
) {
    let site = TestSite::start(move |mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
        let _ = stream.write_all(answer.as_bytes()).await;
        if !closes {
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let app = app(|upstream| {
        upstream.client.max_response_bytes = Some(10);
        upstream.client.stall_timeout = Duration::from_millis(100);
    })
    .await;
    let token = app.log_in_to(&site).await;
    // The client may see the end of the connection before it sees the head of the answer.
    let request = app.upstream(Method::GET, &token, "/");
    let answered = request.send().and_then(Response::text).await;
    assert!(answered.is_err(), "{answered:?}");
    assert_counted(&app, "broken_off").await;
}

#[tokio::test]
async fn answer_whose_client_disconnects_within_the_body_is_counted_as_answered() {
    let site = TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut written = stream.write_all(head.as_bytes()).await;
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
        while written.is_ok() {
            written = stream.write_all(chunk.as_bytes()).await;
        }
    })
    .await;
    let app = app(|upstream| upstream.client.max_response_bytes = None).await;
    let token = app.log_in_to(&site).await;
    let request = app.upstream(Method::GET, &token, "/");
    let mut response = request.send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    assert_counted(&app, "answered").await;
}
