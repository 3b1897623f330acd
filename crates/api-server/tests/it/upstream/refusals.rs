//! Tests of requests that are not sent to the site, and of exchanges that fail.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_api_server::{UpstreamSettings, upstream_client::AddressPolicy};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_test_support::TestSite;
use tokio::io::AsyncReadExt;

use super::{OK, gateway, gateway_with, with_metrics};
use crate::{
    hooked_repository::HookedRepository,
    metrics::scrape,
    test_app::{Store, TestApp, assert_problem},
};

#[rstest]
#[case::without_a_token(None)]
#[case::with_an_unknown_token(Some("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"))]
#[case::with_a_malformed_token(Some("x"))]
#[tokio::test]
async fn v1_upstream_returns_404_if_the_gateway_is_disabled(#[case] token: Option<&str>) {
    let app = TestApp::spawn(Store::Memory).await;
    for path in ["/v1/upstream", "/v1/upstream/", "/v1/upstream/a/b?c"] {
        let mut request = app.request(Method::POST, path).body("x");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        assert_problem(request.send().await.unwrap(), 404, "not_found").await;
    }
}

#[rstest]
#[case::missing(None, "missing_token")]
#[case::unknown(Some("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"), "invalid_token")]
#[case::malformed(Some("x"), "invalid_token")]
#[tokio::test]
async fn request_without_a_valid_token_is_not_sent_to_the_site(
    #[case] token: Option<&str>,
    #[case] code: &str,
) {
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let mut request = app.request(Method::GET, "/v1/upstream/a?access_token=b");
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    assert!(response.headers().contains_key("www-authenticate"));
    assert!(!response.headers().contains_key("via"));
    let problem = assert_problem(response, 401, code).await;
    assert_eq!(problem["outcome"], "not_sent");
}

/// Sends a request head with the token of a session, and returns the status and the body of the
/// response.
async fn send_head(app: &TestApp, token: &str, line: &str, fields: &str) -> (u16, Value) {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: broker.example\r\nAuthorization: Bearer {token}\r\n\
         {fields}Content-Length: 0\r\n\r\n"
    );
    let answer = app
        .send_raw(request.as_bytes(), Duration::from_millis(500))
        .await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[rstest]
#[case::method("TRACE /v1/upstream/", "", 405, "method_not_allowed")]
#[case::unknown_method("PURGE /v1/upstream/", "", 405, "method_not_allowed")]
#[case::websocket(
    "GET /v1/upstream/",
    "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    501,
    "not_implemented"
)]
#[case::no_slash("GET /v1/upstream", "", 400, "invalid_request")]
#[case::dot_segment("GET /v1/upstream/a/../b", "", 400, "invalid_request")]
#[case::encoded_dot_segment("GET /v1/upstream/%2e%2e/v1/sessions", "", 400, "invalid_request")]
#[case::backslash("GET /v1/upstream/a%5c..%5cb", "", 400, "invalid_request")]
#[case::encoded_line_feed("GET /v1/upstream/a%0d%0ab", "", 400, "invalid_request")]
#[case::nul("GET /v1/upstream/a%00", "", 400, "invalid_request")]
#[case::encoded_prefix("GET /v1/%75pstream/a", "", 404, "not_found")]
#[tokio::test]
async fn request_that_the_gateway_does_not_support_is_not_sent_to_the_site(
    #[case] line: &str,
    #[case] fields: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let (actual, problem) = send_head(&app, &token, line, fields).await;
    assert_eq!(actual, status, "{problem}");
    assert_eq!(problem["code"], code);
    assert_eq!(problem["outcome"], "not_sent");
    assert_eq!(site.seen().connections(), 0);
}

#[tokio::test]
async fn upgrade_to_another_protocol_is_ignored() {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let fields =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let (status, _) = send_head(&app, &token, "GET /v1/upstream/", fields).await;
    assert_eq!(status, 200);
    let head = site.seen().last_head();
    assert!(
        !head.contains("pgrade") && !head.contains("Settings"),
        "{head}"
    );
}

#[tokio::test]
async fn request_returns_422_and_is_not_sent_if_a_cookie_value_contains_a_semicolon() {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let cookies = json!({"sid": "1", "la/ng": "de; admin=1"});
    let token = app.log_in_with(cookies, &site.url()).await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    let problem = assert_problem(response, 422, "invalid_session").await;
    assert_eq!(problem["errors"][0]["pointer"], "/cookies/la~1ng");
    assert_eq!(problem["outcome"], "not_sent");
    assert_eq!(site.seen().connections(), 0);
}

#[rstest]
#[case::at_the_limit(1_000, None)]
#[case::above_the_limit(1_001, Some("payload_too_large"))]
#[tokio::test]
async fn request_body_over_the_size_limit_returns_413_and_is_not_sent(
    #[case] length: usize,
    #[case] code: Option<&str>,
    #[values(false, true)] is_chunked: bool,
) {
    let site = TestSite::answering(OK).await;
    let limit = |upstream: &mut UpstreamSettings| upstream.max_request_bytes = 1_000;
    let app = TestApp::builder()
        .with(gateway_with(limit))
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let body = vec![b'x'; length];
    let request = app.upstream(Method::POST, &token, "/upload");
    let request = if is_chunked {
        let parts = body
            .chunks(100)
            .map(|part| Ok::<_, std::io::Error>(part.to_vec()));
        let parts: Vec<_> = parts.collect();
        request.body(reqwest::Body::wrap_stream(futures_util::stream::iter(
            parts,
        )))
    } else {
        request.body(body)
    };
    let response = request.send().await.unwrap();
    match code {
        Some(code) => {
            let problem = assert_problem(response, 413, code).await;
            assert_eq!(problem["outcome"], "not_sent");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("upstream_max_request_bytes"), "{detail}");
            assert_eq!(site.seen().connections(), 0);
        }
        None => {
            assert_eq!(response.status(), StatusCode::OK);
            let head = site.seen().last_head();
            assert!(
                head.contains(&format!("\r\nContent-Length: {length}\r\n")),
                "{head}"
            );
            assert!(!head.contains("Transfer-Encoding"), "{head}");
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Forbidden {
    Host,
    Address,
    Http,
}

#[rstest]
#[case::host(Forbidden::Host, "allowed_base_hosts")]
#[case::address(Forbidden::Address, "upstream_allowed_networks")]
#[case::http(Forbidden::Http, "upstream_allow_http")]
#[tokio::test]
async fn request_to_a_forbidden_site_returns_403_and_opens_no_connection(
    #[case] forbidden: Forbidden,
    #[case] setting: &str,
) {
    let site = TestSite::answering(OK).await;
    let memory = HookedRepository::without_hook(MemoryRepository::default());
    // The session was created by an application with other settings.
    let before = TestApp::builder().spawn_on(memory.clone());
    before.until_ready().await;
    let token = before.log_in_to(&site).await;
    let change = move |settings: &mut tee_session_api_server::ApiSettings| {
        gateway(settings);
        let upstream = settings.upstream.as_mut().unwrap();
        match forbidden {
            Forbidden::Host => settings.allowed_base_hosts = "golf.example".parse().unwrap(),
            Forbidden::Address => {
                upstream.addresses = AddressPolicy::default().allow_http(true);
            }
            Forbidden::Http => upstream.addresses = AddressPolicy::default(),
        }
    };
    let app = TestApp::builder().with(change).spawn_on(memory);
    app.until_ready().await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    let problem = assert_problem(response, 403, "upstream_not_allowed").await;
    assert_eq!(problem["outcome"], "not_sent");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(setting), "{detail}");
    assert!(!detail.contains("127.0.0.1"), "{detail}");
    assert_eq!(site.seen().connections(), 0);
}

#[tokio::test]
async fn site_that_refuses_connections_returns_502_upstream_unreachable() {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    drop(site);
    tee_session_test_support::eventually(Duration::from_secs(5), async || {
        let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
        response.status() == StatusCode::BAD_GATEWAY
    })
    .await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    let problem = assert_problem(response, 502, "upstream_unreachable").await;
    assert_eq!(problem["outcome"], "not_sent");
}

#[rstest]
#[case::nothing("", "connection closed before message completed")]
#[case::malformed("SSH-2.0-OpenSSH_9.2\r\n\r\n", "invalid HTTP version parsed")]
#[case::too_long(
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
    "the answer is longer than 16777216 bytes (setting: upstream_max_response_bytes)"
)]
#[tokio::test]
async fn unusable_answer_of_the_site_returns_502_with_the_cause_and_an_unknown_outcome(
    #[case] answer: &'static str,
    #[case] cause: &str,
) {
    let site = TestSite::answering_once(answer).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let response = app
        .upstream(Method::GET, &token, "/book")
        .send()
        .await
        .unwrap();
    let problem = assert_problem(response, 502, "upstream_failed").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(cause), "{detail}");
    assert_eq!(problem["outcome"], "unknown");
    assert_eq!(site.seen().requests("/book"), 1);
}

#[tokio::test]
async fn timeout_of_the_site_returns_504_with_an_unknown_outcome_and_is_in_the_duration_metric() {
    let site = TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        let _ = stream.read_u8().await;
    })
    .await;
    let short = |upstream: &mut UpstreamSettings| {
        upstream.client.response_timeout = Duration::from_millis(100);
    };
    let app = TestApp::builder()
        .with(gateway_with(short))
        .with(with_metrics)
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let response = app
        .upstream(Method::GET, &token, "/book")
        .send()
        .await
        .unwrap();
    let problem = assert_problem(response, 504, "upstream_timeout").await;
    assert_eq!(problem["outcome"], "unknown");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("upstream_response_timeout_ms"), "{detail}");
    let waited =
        r#"tee_session_upstream_request_duration_seconds_count{site="127.0.0.1",phase="head"} 1"#;
    assert!(scrape(&app).await.contains(waited));
    assert_eq!(site.seen().requests("/book"), 1);
}
