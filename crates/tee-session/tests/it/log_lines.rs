//! The fields of a request in its log lines.

use std::time::Duration;

use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use tee_session_test_support::{RedisProcess, eventually};

use crate::service::{self, Service};

const WITHIN: Duration = Duration::from_secs(10);
const FAILURE: &str = "Request failed: session store unavailable";

/// Logs an error within a request.
async fn fail(service: &Service, mut redis: RedisProcess) {
    service.until_ready(WITHIN).await;
    let token = service.log_in("a1b2c3").await;
    redis.kill().await;
    let request = service.request(Method::GET, "/v1/session?secret=in-the-query");
    let request = request.header("x-request-id", "r-1").bearer_auth(&token);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["x-request-id"], "r-1");
    eventually(WITHIN, async || service.output().contains(FAILURE)).await;
}

#[rstest]
#[tokio::test]
async fn json_lines_hold_the_fields_of_the_request_at_every_level(
    #[values("ERROR", "WARN", "INFO", "DEBUG", "TRACE")] level: &str,
) {
    let redis = RedisProcess::start().await;
    let flags = ["--redis-url", &redis.url(), "--log-level", level];
    let service = Service::start_at_any_level(service::binary(), &flags).await;
    fail(&service, redis).await;
    let events = service.events(FAILURE);
    let event = events[0].as_object().unwrap();
    let span = json!({"method": "GET", "route": "/v1/session", "request_id": "r-1"});
    assert_eq!(event["span"], span);
    let names: Vec<_> = event.keys().map(String::as_str).collect();
    let expected = "error level message span target timestamp unlogged";
    assert_eq!(names.join(" "), expected);
}

#[rstest]
#[tokio::test]
async fn text_lines_end_with_the_fields_of_the_request_at_every_level(
    #[values("ERROR", "INFO", "TRACE")] level: &str,
) {
    let redis = RedisProcess::start().await;
    let flags = ["--redis-url", &redis.url(), "--log-level", level];
    let service = service::start_with_text_log(&flags).await;
    fail(&service, redis).await;
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
async fn each_request_has_its_own_fields_and_other_lines_have_none() {
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
    for (id, route, status) in [
        ("probe", "/health/live", 200),
        ("unmatched", "unmatched", 404),
        ("session", "/v1/session", 401),
    ] {
        let event = completed(id).unwrap();
        assert_eq!(event["span"], span(id, route));
        assert_eq!(event["status"], status);
    }
    assert!(service.events("Starting up")[0].get("span").is_none());
    assert!(!service.output().contains("s3cret"));
}
