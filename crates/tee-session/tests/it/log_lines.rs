//! Tests that the log lines of a request contain the method, the route and the request id of this
//! request.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::json;
use tee_session_test_support::{RedisProcess, eventually};

use crate::service::{self, CLIENT_ID, CLIENT_SECRET, CLIENTS, Service};

const WITHIN: Duration = Duration::from_secs(10);
const FAILURE: &str = "Request failed: session store unavailable";

/// Stops Redis and sends a request. The service must answer this request with 503. Waits until the
/// service has logged an error for this request.
async fn send_failing_request(service: &Service, mut redis: RedisProcess) {
    service.until_ready(WITHIN).await;
    let token = service.log_in("a1b2c3").await;
    redis.kill().await;
    let request = service.request(Method::GET, "/v1/session?secret=in-the-query");
    let request = request.header("x-request-id", "r-1").bearer_auth(&token);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-request-id"], "r-1");
    eventually(WITHIN, async || service.output().contains(FAILURE)).await;
}

#[rstest]
#[tokio::test]
async fn json_log_lines_contain_method_route_and_request_id_at_every_log_level(
    #[values("ERROR", "WARN", "INFO", "DEBUG", "TRACE")] level: &str,
) {
    let redis = RedisProcess::start().await;
    let flags = ["--redis-url", &redis.url(), "--log-level", level];
    let service = Service::start_at_any_level(service::binary(), &flags).await;
    send_failing_request(&service, redis).await;
    let events = service.events(FAILURE);
    let event = events[0].as_object().unwrap();
    let span = json!({"method": "GET", "route": "/v1/session", "request_id": "r-1"});
    assert_eq!(event["span"], span);
    let names: Vec<_> = event.keys().map(String::as_str).collect();
    let expected = "error level message span target timestamp";
    assert_eq!(names.join(" "), expected);
}

#[rstest]
#[tokio::test]
async fn text_log_lines_end_with_method_route_and_request_id_at_every_log_level(
    #[values("ERROR", "INFO", "TRACE")] level: &str,
) {
    let redis = RedisProcess::start().await;
    let flags = ["--redis-url", &redis.url(), "--log-level", level];
    let service = service::start_with_text_log(&flags).await;
    send_failing_request(&service, redis).await;
    let output = service.output();
    let line = output.lines().find(|line| line.contains(FAILURE)).unwrap();
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.ends_with('Z'), "{line}");
    let start = format!("ERROR tee_session_auth_middleware::error: {FAILURE} error=");
    assert!(rest.starts_with(&start), "{line}");
    let end = " method=GET route=/v1/session request_id=r-1";
    assert!(line.ends_with(end), "{line}");
}

#[tokio::test]
async fn log_lines_contain_no_method_route_or_request_id_of_another_request() {
    let service = service::start(&["--log-level", "DEBUG"]).await;
    for (path, id) in [
        ("/health/live", "probe"),
        ("/s3cret", "unmatched"),
        ("/v1/session", "session"),
    ] {
        let request = service
            .request(Method::GET, path)
            .header("x-request-id", id);
        request.send().await.unwrap();
    }
    let span = |id, route| json!({"method": "GET", "route": route, "request_id": id});
    let completed = |id: &str| {
        let events = service.events("Request completed").into_iter();
        let mut events = events.filter(|event| event["span"]["request_id"] == id);
        events.next()
    };
    eventually(WITHIN, async || completed("session").is_some()).await;
    for (id, route, status, problem) in [
        ("probe", "/health/live", 200, json!(null)),
        ("unmatched", "unmatched", 404, json!("not_found")),
        ("session", "/v1/session", 401, json!("missing_token")),
    ] {
        let event = completed(id).unwrap();
        assert_eq!(event["span"], span(id, route));
        assert_eq!(event["status"], status);
        assert_eq!(event["problem"], problem);
    }
    assert!(service.events("Starting up")[0].get("span").is_none());
    assert!(!service.output().contains("s3cret"));
}

/// The request body is a form that contains the token. A long `X-Request-Id` could be the same
/// token, so the log lines get this id only after the service has read the form.
#[tokio::test]
async fn log_lines_of_an_introspection_contain_its_x_request_id_unless_that_is_the_token() {
    let service = service::start(&["--log-level", "DEBUG"]).await;
    let token = service.log_in("a1b2c3").await;
    let mut answered = Vec::new();
    let id = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
    for id in [id, token.as_str()] {
        let request = service.request(Method::POST, "/v1/introspect");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.header("x-request-id", id);
        let response = request.body(format!("token={token}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let id = response.headers()["x-request-id"].to_str().unwrap();
        answered.push(id.to_owned());
    }
    assert_eq!(answered[0], id);
    for id in answered {
        eventually(WITHIN, async || {
            let events = service.events("Request completed");
            events.iter().any(|event| event["span"]["request_id"] == id)
        })
        .await;
    }
    assert!(!service.output().contains(&token));
}

#[tokio::test]
async fn log_lines_of_requests_from_a_service_client_contain_the_client_id() {
    let service = service::start(&["--service-clients", CLIENTS]).await;
    let send = async |request: RequestBuilder, event: &str| {
        let request = request.basic_auth(CLIENT_ID, Some(CLIENT_SECRET));
        let response = request.send().await.unwrap().error_for_status().unwrap();
        eventually(WITHIN, async || !service.events(event).is_empty()).await;
        let logged = &service.events(event)[0];
        assert_eq!(logged["span"]["service_client"], CLIENT_ID, "{logged}");
        response
    };
    let body = json!({"cookies": {"a": "1"}, "base_url": "https://golf.example"});
    let create = service.request(Method::POST, "/v1/sessions").json(&body);
    let created = send(create, "Session created").await;
    let created: serde_json::Value = created.json().await.unwrap();
    let revoke = service.request(Method::POST, "/v1/revoke");
    let revoke = revoke.header("content-type", "application/x-www-form-urlencoded");
    let token = created["access_token"].as_str().unwrap();
    send(revoke.body(format!("token={token}")), "Session deleted").await;
    for (method, event) in [
        (Method::GET, "Sessions of a subject listed"),
        (Method::DELETE, "Sessions of a subject revoked"),
    ] {
        let request = service.request(method, "/v1/sessions?subject=member-4711");
        send(request, event).await;
    }
    assert!(!service.output().contains("member-4711"));
}

#[rstest]
#[case::known_id(CLIENT_ID, json!(CLIENT_ID))]
#[case::unknown_id("s3cret-in-the-wrong-place", json!(null))]
#[tokio::test]
async fn wrong_service_client_credentials_are_logged_at_most_once_per_second_without_the_secret(
    #[case] id: &str,
    #[case] logged_id: serde_json::Value,
) {
    const EVENT: &str = "Wrong credentials of a service client";
    let service = service::start(&["--service-clients", CLIENTS]).await;
    for _ in 0..20 {
        let request = service.request(Method::GET, "/v1/sessions?subject=a");
        let request = request.basic_auth(id, Some("wr0ng-s3cret"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        let problem: serde_json::Value = response.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("Authorization does not contain"),
            "{detail}"
        );
    }
    eventually(WITHIN, async || !service.events(EVENT).is_empty()).await;
    let events = service.events(EVENT);
    assert!((1..5).contains(&events.len()), "{events:?}");
    assert_eq!(events[0]["client_id"], logged_id);
    assert_eq!(events[0]["client_network"], "127.0.0.1");
    assert!(!service.output().contains("s3cret"), "{}", service.output());
}
