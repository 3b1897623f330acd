//! Requests that no sound client sends, byte by byte.

use std::time::Duration;

use rstest::rstest;

use crate::test_app::{Store, TestApp};

const SOON: Duration = Duration::from_millis(500);

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[rstest]
#[case::high_bytes(
    b"GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    401
)]
#[case::high_bytes_in_scheme(
    b"GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: B\xe4rer x\r\n\r\n",
    401
)]
#[case::no_http(b"nonsense\r\n\r\n", 400)]
#[case::two_lengths(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    400
)]
#[case::signed_length(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
    400
)]
#[case::length_and_chunks(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)]
#[case::no_host(b"GET /health HTTP/1.1\r\n\r\n", 400)]
#[case::two_hosts(b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)]
#[case::absolute_form(b"GET http://localhost/nope HTTP/1.1\r\nHost: localhost\r\n\r\n", 404)]
#[case::path_climbs(b"GET /v1/../v1/session HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::bad_chunk(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400)]
#[case::huge_length(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10000000000\r\n\r\n{", 413)]
#[tokio::test]
async fn is_refused(#[case] request: &[u8], #[case] expected: u16) {
    let app = TestApp::spawn(Store::Memory).await;
    let answer = app.send_raw(request, SOON).await;
    assert_eq!(status(&answer), Some(expected), "{answer}");
}

#[tokio::test]
async fn too_many_or_too_long_header_fields_are_refused() {
    let app = TestApp::spawn(Store::Memory).await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(200_000));
    for fields in [many, long] {
        let request = format!("GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let answer = app.send_raw(request.as_bytes(), SOON).await;
        assert_eq!(status(&answer), Some(431), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408_and_stores_nothing() {
    let app = TestApp::spawn(Store::Memory).await;
    let request = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"cookies\": ";
    let answer = app.send_raw(request, Duration::from_secs(7)).await;
    assert_eq!(status(&answer), Some(408), "{answer}");
    assert!(answer.contains(r#""code":"request_timeout""#), "{answer}");
}

#[tokio::test]
async fn expect_100_continue_is_honoured() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example"}"#;
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = app.send_raw(request.as_bytes(), SOON).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_connection_serves_on_after_a_request_was_refused() {
    let app = TestApp::spawn(Store::Memory).await;
    let refused = "GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n";
    let wrong_type = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let served = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = app
        .send_raw([refused, wrong_type, served].concat().as_bytes(), SOON)
        .await;
    let statuses: Vec<_> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer[..3].to_owned())
        .collect();
    assert_eq!(statuses, ["401", "415", "200"], "{answer}");
}

#[tokio::test]
async fn a_request_that_asks_for_an_upgrade_is_answered_without_one() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example"}"#;
    for upgrade in ["websocket", "h2c"] {
        let request = format!(
            "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: Upgrade\r\nUpgrade: {upgrade}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = app.send_raw(request.as_bytes(), SOON).await;
        assert_eq!(status(&answer), Some(201), "{answer}");
    }
}
