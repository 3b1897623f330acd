//! Tests of the access log, and of the log lines of refused requests.

use std::time::Duration;

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::eventually;
use tokio::io::AsyncWriteExt;

use crate::service::{self, CLIENT_ID, CLIENT_SECRET, CLIENTS, Service};

const WITHIN: Duration = Duration::from_secs(10);
const SERVED: &str = "Request served";

/// Sends a request with the id `id`, and returns the access log line of the request.
async fn line_of(service: &Service, id: &str, request: reqwest::RequestBuilder) -> Value {
    request.header("x-request-id", id).send().await.unwrap();
    let of_request = || {
        let mut events = service.events(SERVED).into_iter();
        events.find(|event| event["span"]["request_id"] == id)
    };
    eventually(WITHIN, async || of_request().is_some()).await;
    of_request().unwrap()
}

#[tokio::test]
async fn access_log_has_one_line_per_request_and_contains_no_path_no_query_and_no_secret() {
    let flags = [
        "--access-log",
        "true",
        "--service-clients",
        CLIENTS,
        "--trusted-proxies",
        "127.0.0.1",
    ];
    let service = service::start(&flags).await;
    let body = json!({"cookies": {"a": "s3cret"}, "base_url": "https://golf.example"});
    let login = service
        .request(Method::POST, "/v1/sessions")
        .basic_auth(CLIENT_ID, Some(CLIENT_SECRET))
        .header("x-forwarded-for", "2001:db8:1:2:3:4:5:6")
        .json(&body);
    let line = line_of(&service, "login", login).await;
    let span = json!({
        "method": "POST",
        "route": "/v1/sessions",
        "request_id": "login",
        "service_client": CLIENT_ID,
    });
    assert_eq!(line["span"], span);
    assert_eq!(line["status"], 201);
    assert_eq!(line["client_address"], "2001:db8:1:2:3:4:5:6");
    let duration = line["duration_ms"].as_f64().unwrap();
    assert!(duration > 0.0 && duration < 10_000.0, "{line}");

    let unknown = service.request(Method::GET, "/s3cret?s3cret=s3cret");
    let line = line_of(&service, "unknown", unknown).await;
    assert_eq!(line["span"]["route"], "unmatched");
    assert_eq!(line["status"], 404);
    let probe = service.request(Method::GET, "/health/live");
    let line = line_of(&service, "probe", probe).await;
    assert_eq!(line["status"], 200);
    // The trusted proxy names no client, so the client is unknown. The address of the proxy must
    // not be logged as the client address.
    assert_eq!(line.get("client_address"), None);
    assert_eq!(service.events(SERVED).len(), 3);
    assert!(!service.output().contains("s3cret"), "{}", service.output());
}

#[tokio::test]
async fn access_log_is_off_by_default() {
    let service = service::start(&["--log-level", "DEBUG"]).await;
    let request = service.request(Method::GET, "/health/live");
    request.send().await.unwrap();
    eventually(WITHIN, async || {
        !service.events("Request completed").is_empty()
    })
    .await;
    assert!(service.events(SERVED).is_empty());
}

#[tokio::test]
async fn access_log_does_not_depend_on_the_log_level() {
    let flags = ["--access-log", "true", "--log-level", "ERROR"];
    let service = Service::start_at_any_level(service::binary(), &flags).await;
    let request = service.request(Method::GET, "/v1/session");
    let line = line_of(&service, "refused", request).await;
    assert_eq!(
        (&line["status"], &line["level"]),
        (&json!(401), &json!("INFO"))
    );
    assert!(service.events("Starting up").is_empty());
}

/// Sends a request that is refused before a handler runs.
#[rstest]
#[case::malformed_json(Method::POST, "/v1/sessions", "{", 400, "invalid_request")]
#[case::invalid_session(Method::POST, "/v1/sessions", "{}", 422, "invalid_session")]
#[case::method(Method::PUT, "/v1/session", "", 405, "method_not_allowed")]
#[case::token(Method::GET, "/v1/session", "", 401, "missing_token")]
#[tokio::test]
async fn refused_request_is_logged_at_debug_level_with_its_problem_code(
    #[case] method: Method,
    #[case] path: &str,
    #[case] body: &'static str,
    #[case] status: u16,
    #[case] problem: &str,
) {
    let service = service::start(&["--log-level", "DEBUG"]).await;
    let request = service
        .request(method, path)
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(request.send().await.unwrap().status(), status);
    eventually(WITHIN, async || {
        let events = service.events("Request completed");
        events
            .iter()
            .any(|event| event["status"] == status && event["problem"] == problem)
    })
    .await;
}

#[tokio::test]
async fn malformed_http_request_is_logged_at_debug_level_without_its_content() {
    let service = service::start(&["--log-level", "DEBUG"]).await;
    let mut connection = service.connect().await;
    connection.write_all(b"GET s3cret\r\n\r\n").await.unwrap();
    eventually(WITHIN, async || {
        let events = service.events("Client connection failed");
        events
            .iter()
            .any(|event| event["kind"] == "unreadable_request")
    })
    .await;
    assert!(!service.output().contains("s3cret"), "{}", service.output());
}
