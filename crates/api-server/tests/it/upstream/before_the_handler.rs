//! Tests of requests that are refused before the handler of the gateway runs. No such request is
//! sent to the site.

use std::time::Duration;

use reqwest::Method;
use rstest::rstest;
use tee_session_test_support::TestSite;

use super::{OK, gateway};
use crate::test_app::{Store, TestApp, allow_one_invalid_token, assert_problem};

const READ_TIMEOUT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn invalid_token_over_the_limit_returns_429_with_the_outcome_not_sent() {
    let app = TestApp::builder()
        .with(gateway)
        .with(allow_one_invalid_token)
        .spawn(Store::Memory)
        .await;
    let call = app.upstream(Method::POST, "x", "/book").send();
    assert_problem(call.await.unwrap(), 401, "invalid_token").await;
    let response = app.upstream(Method::POST, "x", "/book").send().await;
    let response = response.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let problem = assert_problem(response, 429, "too_many_requests").await;
    assert_eq!(problem["outcome"], "not_sent");
}

#[tokio::test]
async fn invalid_host_returns_400_with_the_outcome_not_sent() {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let request = format!(
        "GET /v1/upstream/book HTTP/1.1\r\nHost: a b/\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains(r#""outcome":"not_sent""#), "{answer}");
    assert_eq!(site.seen().connections(), 0);
}

/// A proxy in front of the service may find the end of the body by `Content-Length`, and the
/// service by `Transfer-Encoding`. The service would then parse the rest of the body as the request
/// of another client (request smuggling).
#[rstest]
#[case::length_first("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n")]
#[case::length_last("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n")]
#[case::length_of_zero("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n")]
#[tokio::test]
async fn request_with_content_length_and_transfer_encoding_returns_400_and_is_not_sent(
    #[case] framing: &str,
) {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let fields = format!("Host: broker.example\r\nAuthorization: Bearer {token}\r\n");
    let body = format!("0\r\n\r\nGET /v1/upstream/smuggled HTTP/1.1\r\n{fields}\r\n");
    let framing = framing.replace("{length}", &body.len().to_string());
    let request = format!("POST /v1/upstream/book HTTP/1.1\r\n{fields}{framing}\r\n{body}");
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(site.seen().connections(), 0);
}

#[rstest]
#[case::field_value_on_two_lines("X-A: 1\r\n 2\r\n")]
#[case::space_before_the_colon("Transfer-Encoding : chunked\r\n")]
#[tokio::test]
async fn request_with_a_malformed_header_field_returns_400_and_is_not_sent(
    #[case] malformed: &str,
) {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let fields = format!("Host: broker.example\r\nAuthorization: Bearer {token}\r\n");
    let request = format!("GET /v1/upstream/book HTTP/1.1\r\n{fields}{malformed}\r\n");
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(site.seen().connections(), 0);
}

/// A server may accept LF as the end of a line (RFC 9112, section 2.2), but no such line may be
/// passed on: the site could read it in another way.
#[tokio::test]
async fn request_with_lf_line_ends_is_sent_to_the_site_once_with_crlf_line_ends() {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let fields = format!("Host: broker.example\nAuthorization: Bearer {token}\nX-A: 1\nX-B: 2\n");
    let request = format!("GET /v1/upstream/book HTTP/1.1\n{fields}\n");
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(site.seen().total(), 1);
    let head = site.seen().last_head();
    assert!(head.contains("\r\nX-A: 1\r\n"), "{head:?}");
    assert!(head.contains("\r\nX-B: 2\r\n"), "{head:?}");
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
}
