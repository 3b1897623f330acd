//! Tests that request bodies that never arrive do not block other requests.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_api_server::{Scope, ServiceClient, ServiceClients};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::test_app::{Store, TestApp, build_valid_body};

/// SHA-256 hash of the client secret `s3cret` in hexadecimal (`printf s3cret | sha256sum`).
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// HTTP Basic credentials of the service client `ci` with the right secret `s3cret`.
const RIGHT: &str = "Basic Y2k6czNjcmV0";
/// HTTP Basic credentials of the service client `ci` with the wrong secret `wrong`.
const WRONG: &str = "Basic Y2k6d3Jvbmc=";

/// `Authorization` value with a bearer token that belongs to no session.
const UNKNOWN: &str = "Bearer 11111111-1111-4111-8111-111111111111";

const MAX_IN_FLIGHT: usize = 64;

async fn start_app() -> TestApp {
    let scopes = vec![Scope::Create, Scope::Introspect];
    let ci = ServiceClient::new("ci", &[S3CRET], scopes).unwrap();
    TestApp::builder()
        .service_clients(ServiceClients::new(vec![ci]))
        .with(|settings| settings.max_in_flight = MAX_IN_FLIGHT)
        .spawn(Store::Memory)
        .await
}

async fn log_in(app: &TestApp) -> reqwest::Response {
    let request = app.request(Method::POST, "/v1/sessions");
    let request = request.basic_auth("ci", Some("s3cret"));
    request.json(&build_valid_body()).send().await.unwrap()
}

/// Sends the head of a request and the first byte of its body. Returns the open connection.
async fn stall(app: &TestApp, request: &str, credentials: &str, framing: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let media_type = match request {
        "PATCH /v1/session" => "application/merge-patch+json",
        "POST /v1/sessions" => "application/json",
        _ => "application/x-www-form-urlencoded",
    };
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {credentials}\r\n\
         Content-Type: {media_type}\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let first = if framing.contains("chunked") {
        "32\r\n{"
    } else {
        "{"
    };
    stream.write_all(first.as_bytes()).await.unwrap();
    stream
}

/// Starts three times as many requests as may be in flight, and sends only a part of each body.
/// Meanwhile, the service must serve other requests, even requests with the same credentials.
#[rstest]
#[case::no_token("PATCH /v1/session", "none", "Content-Length: 50")]
#[case::unknown_token("PATCH /v1/session", UNKNOWN, "Content-Length: 50")]
#[case::valid_token("PATCH /v1/session", "own", "Content-Length: 50")]
#[case::valid_token_chunked("PATCH /v1/session", "own", "Transfer-Encoding: chunked")]
#[case::wrong_secret("POST /v1/sessions", WRONG, "Content-Length: 50")]
#[case::right_secret("POST /v1/sessions", RIGHT, "Content-Length: 50")]
#[case::form_with_wrong_secret("POST /v1/introspect", WRONG, "Content-Length: 50")]
#[case::form_with_right_secret("POST /v1/introspect", RIGHT, "Content-Length: 50")]
#[tokio::test]
async fn other_requests_are_served_while_many_request_bodies_stall(
    #[case] request: &str,
    #[case] credentials: &str,
    #[case] framing: &str,
) {
    let app = start_app().await;
    let created: serde_json::Value = log_in(&app).await.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    let own = format!("Bearer {token}");
    let credentials = if credentials == "own" {
        &own
    } else {
        credentials
    };
    let stalled = (0..3 * MAX_IN_FLIGHT).map(|_| stall(&app, request, credentials, framing));
    let stalled = join_all(stalled).await;
    for _ in 0..20 {
        assert_eq!(app.get_session(token).await.status(), StatusCode::OK);
        assert_eq!(log_in(&app).await.status(), StatusCode::CREATED);
    }
    drop(stalled);
}

/// The number of request bodies that are still arriving is limited, and one credential may use at
/// most an eighth of the limit. If a credential has reached this share, one more request with the
/// same credential is answered with 503 at once.
#[tokio::test]
async fn request_returns_503_if_too_many_incomplete_requests_have_the_same_credentials() {
    let app = start_app().await;
    let statuses = (0..=MAX_IN_FLIGHT / 8).map(async |_| {
        let mut stream = stall(&app, "POST /v1/sessions", RIGHT, "Content-Length: 50").await;
        let mut status = [0; 12];
        let read = timeout(Duration::from_secs(1), stream.read_exact(&mut status)).await;
        read.is_ok()
            .then(|| String::from_utf8_lossy(&status).into_owned())
    });
    let statuses: Vec<_> = join_all(statuses).await.into_iter().flatten().collect();
    assert_eq!(statuses, ["HTTP/1.1 503"]);
}
