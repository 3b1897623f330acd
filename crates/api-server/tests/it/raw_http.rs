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
#[case::nul_in_a_field(
    b"GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\0y\r\n\r\n",
    400
)]
#[case::no_http(b"nonsense\r\n\r\n", 400)]
#[case::http_0_9(b"GET /health\r\n\r\n", 400)]
#[case::http_2_without_tls(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)]
#[case::equal_lengths(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    400
)]
#[case::two_codings(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)]
#[case::gzip_and_chunked(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    400
)]
#[case::identity_coding(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
    400
)]
#[case::coding_in_http_1_0(
    b"POST /v1/sessions HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    400
)]
#[case::encoded_climb(b"GET /v1/%2e%2e/v1/session HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::encoded_dot(b"GET /v1/%2e/session HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::encoded_high_byte(b"GET /v1/session%ff HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::encoded_nul(b"GET /v1/session%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::options_of_the_server(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::absolute_form_of_another_host(b"POST http://golf.example/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 403)]
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

fn request_with(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into_bytes()
}

#[rstest]
#[case::most_fields(95, 200)]
#[case::one_field_more(96, 431)]
#[tokio::test]
async fn a_request_has_up_to_96_header_fields(#[case] more: usize, #[case] expected: u16) {
    let app = TestApp::spawn(Store::Memory).await;
    let fields: String = (0..more).map(|n| format!("x-{n}: y\r\n")).collect();
    let answer = app.send_raw(&request_with("/health", &fields), SOON).await;
    assert_eq!(status(&answer), Some(expected), "{answer}");
}

#[rstest]
#[case::longest_target(8 * 1_024, 1_000, 200)]
#[case::longer_target(8 * 1_024 + 1, 1_000, 414)]
#[case::longest_fields(100, 32 * 1_024, 200)]
#[case::longer_fields(100, 32 * 1_024 + 1, 431)]
#[tokio::test]
async fn a_head_over_a_limit_of_ours_is_a_problem(
    #[case] target_len: usize,
    #[case] fields_len: usize,
    #[case] expected: u16,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let target = format!("/health?{}", "q".repeat(target_len - "/health?".len()));
    let value = "y".repeat(fields_len - "host".len() - "x".len() - "x-long".len());
    let fields = format!("X-Long: {value}\r\n");
    let answer = app.send_raw(&request_with(&target, &fields), SOON).await;
    assert_eq!(status(&answer), Some(expected), "{answer}");
    let code = match expected {
        414 => r#""code":"uri_too_long""#,
        431 => r#""code":"request_header_fields_too_large""#,
        _ => r#""status":"healthy""#,
    };
    assert!(answer.contains(code), "{answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
}

#[tokio::test]
async fn a_target_beyond_every_limit_is_refused() {
    let app = TestApp::spawn(Store::Memory).await;
    for len in [20_000, 70_000, 200_000] {
        let target = format!("/{}", "p".repeat(len));
        let answer = app.send_raw(&request_with(&target, ""), SOON).await;
        let refused = matches!(status(&answer), Some(400 | 414 | 431));
        assert!(refused, "{len}: {answer}");
    }
}

/// What stands in a body is never taken for a request: it would be somebody else's behind a
/// gateway that shares connections.
#[rstest]
#[case::get("GET", "/v1/session")]
#[case::delete("DELETE", "/v1/session")]
#[case::wrong_method("PUT", "/v1/session")]
#[case::unknown_path("POST", "/nope")]
#[tokio::test]
async fn a_body_that_nobody_reads_is_not_taken_for_a_request(
    #[case] method: &str,
    #[case] path: &str,
) {
    const SMUGGLED: &str = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let app = TestApp::spawn(Store::Memory).await;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
    let len = SMUGGLED.len();
    let bodies = [
        format!("Content-Length: {len}\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\nzz\r\n{SMUGGLED}"),
    ];
    for body in bodies {
        let answer = app.send_raw(format!("{head}{body}").as_bytes(), SOON).await;
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
        assert!(status(&answer).is_some(), "{answer}");
    }
}

#[tokio::test]
async fn after_a_body_that_was_too_long_the_rest_is_not_taken_for_a_request() {
    let app = TestApp::builder()
        .with(|settings| settings.max_body_bytes = 1_024)
        .spawn(Store::Memory)
        .await;
    let smuggled = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
        smuggled.len()
    );
    let answer = app.send_raw(request.as_bytes(), SOON).await;
    assert_eq!(status(&answer), Some(413), "{answer}");
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn the_absolute_form_of_a_target_is_served() {
    let app = TestApp::spawn(Store::Memory).await;
    let request = b"GET http://localhost/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = app.send_raw(request, SOON).await;
    assert_eq!(status(&answer), Some(200), "{answer}");
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
