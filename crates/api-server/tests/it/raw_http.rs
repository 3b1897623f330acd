//! Tests of unusual and malformed HTTP requests. The tests write the requests to the socket as
//! bytes.

use std::time::Duration;

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::test_app::{Store, TestApp};

const READ_TIMEOUT: Duration = Duration::from_millis(500);

fn parse_status(answer: &str) -> Option<u16> {
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
#[case::not_http(b"nonsense\r\n\r\n", 400)]
#[case::http_0_9(b"GET /health\r\n\r\n", 400)]
#[case::http_2_without_tls(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)]
#[case::repeated_content_length(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    400
)]
#[case::repeated_transfer_encoding(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)]
#[case::gzip_and_chunked(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    400
)]
#[case::identity_coding(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
    400
)]
#[case::transfer_encoding_in_http_1_0(
    b"POST /v1/sessions HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    400
)]
#[case::encoded_dot_dot_segment(b"GET /v1/%2e%2e/v1/session HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::encoded_dot_segment(b"GET /v1/%2e/session HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::encoded_high_byte(b"GET /v1/session%ff HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::encoded_nul(b"GET /v1/session%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::options_asterisk(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::absolute_form_of_another_host(b"POST http://golf.example/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 403)]
#[case::conflicting_content_lengths(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    400
)]
#[case::content_length_with_sign(
    b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
    400
)]
#[case::content_length_and_chunked(b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)]
#[case::no_host(b"GET /health HTTP/1.1\r\n\r\n", 400)]
#[case::two_hosts(b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)]
#[case::host_with_a_space_and_a_slash(b"GET /health HTTP/1.1\r\nHost: a b/\r\n\r\n", 400)]
#[case::host_with_a_user(b"GET /v1/authorize HTTP/1.1\r\nHost: user@a\r\n\r\n", 400)]
#[case::port_of_the_host_is_no_number(b"GET /health HTTP/1.1\r\nHost: a:http\r\n\r\n", 400)]
#[case::absolute_form(b"GET http://localhost/nope HTTP/1.1\r\nHost: localhost\r\n\r\n", 404)]
#[case::dot_dot_segment(b"GET /v1/../v1/session HTTP/1.1\r\nHost: x\r\n\r\n", 404)]
#[case::malformed_chunk(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400)]
#[case::content_length_over_the_limit(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10000000000\r\n\r\n{", 413)]
#[tokio::test]
async fn malformed_or_unusual_http_request_returns_a_4xx_status(
    #[case] request: &[u8],
    #[case] expected: u16,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let answer = app.send_raw(request, READ_TIMEOUT).await;
    assert_eq!(parse_status(&answer), Some(expected), "{answer}");
}

#[tokio::test]
async fn too_many_or_too_long_header_fields_return_431() {
    let app = TestApp::spawn(Store::Memory).await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(200_000));
    for fields in [many, long] {
        let request = format!("GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
        assert_eq!(parse_status(&answer), Some(431), "{answer}");
    }
}

fn build_request(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into_bytes()
}

#[rstest]
#[case::at_the_limit(95, 200)]
#[case::one_field_over_the_limit(96, 431)]
#[tokio::test]
async fn request_with_more_than_96_header_fields_returns_431(
    #[case] more: usize,
    #[case] expected: u16,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let fields: String = (0..more).map(|n| format!("x-{n}: y\r\n")).collect();
    let answer = app
        .send_raw(&build_request("/health", &fields), READ_TIMEOUT)
        .await;
    assert_eq!(parse_status(&answer), Some(expected), "{answer}");
}

#[rstest]
#[case::target_at_the_limit(8 * 1_024, 1_000, 200)]
#[case::target_over_the_limit(8 * 1_024 + 1, 1_000, 414)]
#[case::fields_at_the_limit(100, 32 * 1_024, 200)]
#[case::fields_over_the_limit(100, 32 * 1_024 + 1, 431)]
#[tokio::test]
async fn request_target_or_headers_over_their_size_limit_return_414_or_431_with_problem_details(
    #[case] target_len: usize,
    #[case] fields_len: usize,
    #[case] expected: u16,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let target = format!("/health?{}", "q".repeat(target_len - "/health?".len()));
    let value = "y".repeat(fields_len - "host".len() - "x".len() - "x-long".len());
    let fields = format!("X-Long: {value}\r\n");
    let answer = app
        .send_raw(&build_request(&target, &fields), READ_TIMEOUT)
        .await;
    assert_eq!(parse_status(&answer), Some(expected), "{answer}");
    let code = match expected {
        414 => r#""code":"uri_too_long""#,
        431 => r#""code":"request_header_fields_too_large""#,
        _ => r#""status":"healthy""#,
    };
    assert!(answer.contains(code), "{answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
}

#[tokio::test]
async fn request_target_of_20_000_bytes_or_more_returns_400_414_or_431() {
    let app = TestApp::spawn(Store::Memory).await;
    for len in [20_000, 70_000, 200_000] {
        let target = format!("/{}", "p".repeat(len));
        let answer = app
            .send_raw(&build_request(&target, ""), READ_TIMEOUT)
            .await;
        let refused = matches!(parse_status(&answer), Some(400 | 414 | 431));
        assert!(refused, "{len}: {answer}");
    }
}

/// Checks that a request body is never parsed as another request. Otherwise request smuggling would
/// be possible behind a gateway that shares connections between clients.
#[rstest]
#[case::get("GET", "/v1/session")]
#[case::delete("DELETE", "/v1/session")]
#[case::wrong_method("PUT", "/v1/session")]
#[case::unknown_path("POST", "/nope")]
#[tokio::test]
async fn unread_request_body_is_not_parsed_as_another_request(
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
        let answer = app
            .send_raw(format!("{head}{body}").as_bytes(), READ_TIMEOUT)
            .await;
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
        assert!(parse_status(&answer).is_some(), "{answer}");
    }
}

#[tokio::test]
async fn rest_of_a_too_long_body_is_not_parsed_as_another_request() {
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
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert_eq!(parse_status(&answer), Some(413), "{answer}");
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn request_target_in_absolute_form_is_accepted() {
    let app = TestApp::spawn(Store::Memory).await;
    let request = b"GET http://localhost/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = app.send_raw(request, READ_TIMEOUT).await;
    assert_eq!(parse_status(&answer), Some(200), "{answer}");
}

#[tokio::test]
async fn request_body_that_stays_incomplete_returns_408() {
    let app = TestApp::spawn(Store::Memory).await;
    let request = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"cookies\": ";
    let answer = app.send_raw(request, Duration::from_secs(7)).await;
    assert_eq!(parse_status(&answer), Some(408), "{answer}");
    assert!(answer.contains(r#""code":"request_timeout""#), "{answer}");
}

#[tokio::test]
async fn request_with_expect_100_continue_gets_100_before_the_final_response() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example"}"#;
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created"),
        "{answer}"
    );
}

/// Reads from `stream` until `is_complete` returns `true` for everything that was read.
async fn read_until(stream: &mut TcpStream, is_complete: impl Fn(&str) -> bool) -> String {
    let mut answer = String::new();
    let mut chunk = [0; 4_096];
    while !is_complete(&answer) {
        let read = timeout(Duration::from_secs(5), stream.read(&mut chunk)).await;
        let len = read.expect("more bytes arrive").unwrap();
        assert!(len > 0, "the connection was closed after: {answer}");
        answer.push_str(str::from_utf8(&chunk[..len]).unwrap());
    }
    answer
}

/// Returns `true` if `answer` is a response with its whole JSON body.
fn has_body(answer: &str) -> bool {
    answer.contains("\r\n\r\n{") && answer.ends_with('}')
}

#[rstest]
#[case::no_token("PATCH /v1/session", "", 401)]
#[case::unknown_token(
    "PATCH /v1/session",
    "Authorization: Bearer 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed\r\n",
    401
)]
#[case::proxied("POST /v1/sessions", "Via: 1.1 x\r\n", 403)]
#[case::unknown_path("POST /nope", "", 404)]
#[case::method_not_allowed("PUT /v1/sessions", "", 405)]
#[case::too_large_body("POST /v1/sessions", "Content-Type: application/json\r\n", 413)]
#[case::wrong_media_type("POST /v1/sessions", "Content-Type: text/plain\r\n", 415)]
#[tokio::test]
async fn request_that_is_refused_without_its_body_gets_no_100_continue(
    #[case] request_line: &str,
    #[case] fields: &str,
    #[case] expected: u16,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let request = format!(
        "{request_line} HTTP/1.1\r\nHost: localhost\r\n{fields}Expect: 100-continue\r\n\
         Content-Length: 9999999\r\n\r\n"
    );
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert_eq!(parse_status(&answer), Some(expected), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

/// With the embedded store, the service begins to read the body at once. With Redis, the service
/// first waits for the reply to the look-up of the token. In both cases, the service must send
/// `100 Continue`.
#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn client_that_waits_for_100_continue_gets_it_and_may_then_send_the_body(
    #[case] store: Store,
) {
    let app = TestApp::spawn(store).await;
    let token = app.log_in().await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    // The second request shows that the connection stays usable.
    for _ in 0..2 {
        let head = format!(
            "PATCH /v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let interim = read_until(&mut stream, |answer| answer.ends_with("\r\n\r\n")).await;
        assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"{}").await.unwrap();
        let answer = read_until(&mut stream, has_body).await;
        assert_eq!(parse_status(&answer), Some(200), "{answer}");
    }
}

#[rstest]
#[case::h2c("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")]
#[case::tls("Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n")]
#[tokio::test]
async fn connection_stays_open_after_a_request_that_offers_another_protocol(#[case] offer: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let body = r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example"}"#;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    for _ in 0..3 {
        let post = format!(
            "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n{offer}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let get = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{offer}\r\n");
        for (request, expected) in [(post, 201), (get, 200)] {
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_until(&mut stream, has_body).await;
            assert_eq!(parse_status(&answer), Some(expected), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    }
}

#[tokio::test]
async fn connection_stays_open_after_a_rejected_request() {
    let app = TestApp::spawn(Store::Memory).await;
    let refused = "GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n";
    let invalid = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/json\r\nContent-Length: 2\r\n\r\nxx";
    let served = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = app
        .send_raw([refused, invalid, served].concat().as_bytes(), READ_TIMEOUT)
        .await;
    let statuses: Vec<_> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer[..3].to_owned())
        .collect();
    assert_eq!(statuses, ["401", "400", "200"], "{answer}");
}

#[tokio::test]
async fn request_to_upgrade_to_websocket_or_h2c_is_served_as_http_1_1() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example"}"#;
    for upgrade in ["websocket", "h2c"] {
        let request = format!(
            "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: Upgrade\r\nUpgrade: {upgrade}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
        assert_eq!(parse_status(&answer), Some(201), "{answer}");
    }
}

/// Checks that bytes after the declared body of an upgrade request are not read as part of the
/// body. The HTTP framework passes on all bytes that arrive on the connection of an upgrade
/// request.
#[tokio::test]
async fn bytes_after_the_declared_body_of_an_upgrade_request_are_not_read_as_part_of_the_body() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example"}"#;
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {}\r\n\r\n{body}\
         GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
        body.len()
    );
    let answer = app.send_raw(request.as_bytes(), READ_TIMEOUT).await;
    assert_eq!(parse_status(&answer), Some(201), "{answer}");
}
