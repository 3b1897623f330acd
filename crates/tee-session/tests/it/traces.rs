//! Tests of the traces that the binary exports to a collector.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode as Outcome};
use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, TestSite, eventually, free_port};

use crate::{
    service::{self, Service},
    trace_receiver::{Behaviour, TraceReceiver, attribute_value},
};

const WITHIN: Duration = Duration::from_secs(10);
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN_ID: &str = "00f067aa0ba902b7";
pub(crate) const GET: &str = "GET /v1/session";

/// Starts the service with `flags`, and waits until the service is ready. The service exports
/// recorded spans to `receiver` every 50 ms.
pub(crate) async fn start_with_collector(receiver: &TraceReceiver, flags: &[&str]) -> Service {
    start_with_endpoint(&receiver.endpoint(), flags).await
}

async fn start_with_endpoint(endpoint: &str, flags: &[&str]) -> Service {
    let mut command = service::binary();
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let endpoint = ["--traces-otlp-endpoint", endpoint];
    let service = Service::start(command, &[flags, &endpoint].concat()).await;
    service.until_ready(WITHIN).await;
    service
}

pub(crate) async fn wait_for_span(receiver: &TraceReceiver, name: &str) -> Span {
    eventually(WITHIN, async || !receiver.spans(name).is_empty()).await;
    receiver.spans(name).remove(0)
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE_ID}-{SPAN_ID}-{flags}")
}

#[tokio::test]
async fn trace_of_a_request_contains_spans_for_the_session_look_up_and_the_redis_command() {
    let (receiver, redis) = (
        TraceReceiver::start(Behaviour::Accepts),
        RedisProcess::start().await,
    );
    let service = start_with_collector(&receiver, &["--redis-url", &redis.url()]).await;
    let token = service.log_in("s3cret-cookie").await;
    let request = service.request(Method::GET, "/v1/session");
    let response = request.bearer_auth(&token).send().await.unwrap();
    let traceresponse = response.headers()["traceresponse"]
        .to_str()
        .unwrap()
        .to_owned();

    let request = wait_for_span(&receiver, GET).await;
    assert_eq!(request.kind, i32::from(SpanKind::Server as u8));
    assert_eq!(
        attribute_value(&request.attributes, "http.request.method").unwrap(),
        "GET"
    );
    assert_eq!(
        attribute_value(&request.attributes, "http.route").unwrap(),
        "/v1/session"
    );
    assert_eq!(
        attribute_value(&request.attributes, "http.response.status_code").unwrap(),
        "200"
    );
    assert!(request.parent_span_id.is_empty());
    let (trace_id, span_id) = (
        hex::encode(&request.trace_id),
        hex::encode(&request.span_id),
    );
    assert_eq!(traceresponse, format!("00-{trace_id}-{span_id}-01"));

    let resolution = wait_for_span(&receiver, "resolve session").await;
    assert_eq!(resolution.trace_id, request.trace_id);
    assert_eq!(resolution.parent_span_id, request.span_id);

    let command = wait_for_span(&receiver, "load_and_touch").await;
    assert_eq!(command.trace_id, request.trace_id);
    assert_eq!(command.parent_span_id, resolution.span_id);
    assert_eq!(command.kind, i32::from(SpanKind::Client as u8));
    assert_eq!(
        attribute_value(&command.attributes, "db.system.name").unwrap(),
        "redis"
    );
    assert_eq!(
        attribute_value(&command.attributes, "outcome").unwrap(),
        "ok"
    );
    assert!(command.start_time_unix_nano >= request.start_time_unix_nano);
    assert!(command.end_time_unix_nano <= request.end_time_unix_nano);

    assert_eq!(receiver.resource("service.name").unwrap(), "tee-session");
    assert_eq!(
        receiver.resource("service.version").unwrap(),
        env!("CARGO_PKG_VERSION")
    );
    wait_for_span(&receiver, "insert").await;
}

/// Starts the service with a gateway to sites on this machine, and creates a session for the site
/// at `base_url`. Returns the service and the token of the session.
async fn start_gateway_to(receiver: &TraceReceiver, base_url: &str) -> (Service, String) {
    let flags = [
        "--upstream-gateway",
        "true",
        "--allowed-base-hosts",
        "127.0.0.1",
        "--upstream-allow-http",
        "true",
        "--upstream-allowed-networks",
        "127.0.0.0/8",
    ];
    let service = start_with_collector(receiver, &flags).await;
    let body = serde_json::json!({"cookies": {"sid": "s3cret"}, "base_url": base_url});
    let request = service.request(Method::POST, "/v1/sessions").json(&body);
    let created: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    let token = created["access_token"].as_str().unwrap().to_owned();
    (service, token)
}

#[tokio::test]
async fn request_to_a_site_has_a_client_span_and_carries_no_trace_context_to_the_site() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let site = TestSite::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let (service, token) = start_gateway_to(&receiver, &site.url()).await;
    let request = service.request(Method::PUT, "/v1/upstream/s3cret-path?s3cret");
    let request = request
        .bearer_auth(token)
        .header("traceparent", traceparent("01"));
    let answer = request.header("baggage", "user=1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);

    let request = wait_for_span(&receiver, "PUT /v1/upstream/{path}").await;
    let span = wait_for_span(&receiver, "upstream").await;
    assert_eq!(span.trace_id, request.trace_id);
    assert_eq!(span.parent_span_id, request.span_id);
    assert_eq!(span.kind, i32::from(SpanKind::Client as u8));
    let attributes = [
        ("http.request.method", "PUT"),
        ("http.response.status_code", "204"),
        ("site", "127.0.0.1"),
    ];
    for (name, value) in attributes {
        assert_eq!(attribute_value(&span.attributes, name).unwrap(), value);
    }
    assert!(!format!("{span:?}").contains("s3cret"), "{span:?}");
    let head = site.seen().last_head().to_lowercase();
    for absent in ["trace", "baggage", TRACE_ID] {
        assert!(!head.contains(absent), "{head}");
    }
}

#[tokio::test]
async fn site_that_is_unreachable_marks_the_client_span_as_an_error() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let base_url = format!("http://127.0.0.1:{}", free_port());
    let (service, token) = start_gateway_to(&receiver, &base_url).await;
    let status = service.status(Method::GET, "/v1/upstream/book", &token);
    assert_eq!(status.await, StatusCode::BAD_GATEWAY);
    let span = wait_for_span(&receiver, "upstream").await;
    let error_type = attribute_value(&span.attributes, "error.type");
    assert_eq!(error_type.unwrap(), "upstream_unreachable");
    assert_eq!(span.status.unwrap_or_default().code(), Outcome::Error);
}

#[tokio::test]
async fn exported_trace_spans_contain_neither_secrets_nor_subjects_nor_urls() {
    let (receiver, redis) = (
        TraceReceiver::start(Behaviour::Accepts),
        RedisProcess::start().await,
    );
    let service = start_with_collector(&receiver, &["--redis-url", &redis.url()]).await;
    let token = service.log_in("s3cret-cookie").await;
    for (method, path) in [
        (Method::GET, "/v1/session?secret=in-the-query"),
        (Method::GET, "/v1/session/ttl"),
        (Method::GET, "/v1/sessions?subject=member-4711"),
        (Method::GET, "/one-of-endless-paths"),
        (Method::DELETE, "/v1/session"),
        (Method::GET, "/v1/authorize/below"),
    ] {
        service.status(method, path, &token).await;
    }
    wait_for_span(&receiver, "GET /v1/authorize").await;
    wait_for_span(&receiver, "GET unmatched").await;
    wait_for_span(&receiver, "list sessions").await;
    let sent = receiver.text();
    for secret in [
        &token[..8],
        "s3cret",
        "golf.example",
        "in-the-query",
        "member-4711",
        "endless",
    ] {
        assert!(!sent.contains(secret), "{secret} in {sent:?}");
    }
}

#[rstest]
#[case::sampled_by_the_caller("01", "0", true)]
#[case::not_sampled_by_the_caller("00", "1", false)]
#[tokio::test]
async fn sampled_flag_of_the_traceparent_header_overrides_the_sample_ratio(
    #[case] flags: &str,
    #[case] ratio: &str,
    #[case] is_recorded: bool,
) {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let mut service = start_with_collector(&receiver, &["--traces-sample-ratio", ratio]).await;
    let token = service.log_in("a1b2c3").await;
    let request = service.request(Method::GET, "/v1/session");
    let response = request
        .bearer_auth(&token)
        .header("traceparent", traceparent(flags))
        .send()
        .await;
    let field = response.unwrap().headers().get("traceresponse").cloned();
    assert_eq!(field.is_some(), is_recorded);
    // The service exports all recorded spans before the process exits.
    service.signal(Signal::SIGTERM);
    assert!(service.ended(WITHIN).await.success());
    let spans = receiver.spans(GET);
    assert_eq!(spans.len(), usize::from(is_recorded));
    for below in ["resolve session", "load_and_touch"] {
        assert_eq!(receiver.spans(below).len(), spans.len(), "{below}");
    }
    if let Some(span) = spans.first() {
        assert_eq!(hex::encode(&span.trace_id), TRACE_ID);
        assert_eq!(hex::encode(&span.parent_span_id), SPAN_ID);
    }
}

#[tokio::test]
async fn malformed_traceparent_header_is_ignored_and_a_new_trace_begins() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let service = start_with_collector(&receiver, &[]).await;
    let request = service.request(Method::GET, "/v1/session");
    let malformed = traceparent("01").to_uppercase();
    request
        .header("traceparent", malformed)
        .send()
        .await
        .unwrap();
    let span = wait_for_span(&receiver, GET).await;
    assert!(span.parent_span_id.is_empty());
    assert_ne!(hex::encode(&span.trace_id), TRACE_ID);
}

#[tokio::test]
async fn maximum_of_traced_requests_per_second_also_limits_requests_sampled_by_the_caller() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let flags = ["--traces-max-per-second", "1", "--log-level", "DEBUG"];
    let mut service = start_with_collector(&receiver, &flags).await;
    let started = Instant::now();
    for _ in 0..50 {
        let request = service.request(Method::GET, "/v1/session");
        let request = request.header("traceparent", traceparent("01"));
        request.send().await.unwrap();
    }
    let seconds = started.elapsed().as_secs() + 2;
    service.signal(Signal::SIGTERM);
    assert!(service.ended(WITHIN).await.success());
    let recorded = receiver.spans(GET).len() as u64;
    assert!(
        (1..=seconds).contains(&recorded),
        "{recorded} in {seconds} s"
    );
    // If a request is not recorded, its span is used only for log lines, and these log lines
    // contain no trace id.
    let lines = service.events("Request completed").into_iter();
    let lines = lines.filter(|line| line["span"]["route"] == "/v1/session");
    let (exported, others): (Vec<_>, Vec<_>) =
        lines.partition(|line| line["span"].get("trace_id").is_some());
    assert_eq!(exported.len() as u64, recorded);
    assert_eq!(others.len() as u64, 50 - recorded);
}

#[tokio::test]
async fn trace_spans_of_health_checks_are_not_exported() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let mut service = start_with_collector(&receiver, &["--log-level", "DEBUG"]).await;
    for path in ["/health", "/health/live", "/health/ready"] {
        let request = service.request(Method::GET, path);
        let request = request.header("traceparent", traceparent("01"));
        request.send().await.unwrap();
    }
    service.signal(Signal::SIGTERM);
    assert!(service.ended(WITHIN).await.success());
    assert_eq!(receiver.count(), 0);
    for route in ["/health", "/health/live", "/health/ready"] {
        let lines = service.events("Request completed").into_iter();
        let mut lines = lines.filter(|line| line["span"]["route"] == route);
        let line = lines.next().unwrap();
        assert!(line["span"].get("trace_id").is_none(), "{line}");
    }
}

#[tokio::test]
async fn redis_outage_marks_the_trace_spans_of_the_redis_command_and_the_request_as_errors() {
    let (receiver, mut redis) = (
        TraceReceiver::start(Behaviour::Accepts),
        RedisProcess::start().await,
    );
    let service = start_with_collector(&receiver, &["--redis-url", &redis.url()]).await;
    let token = service.log_in("a1b2c3").await;
    redis.kill().await;
    let status = service.status(Method::GET, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    let is_error = |span: &Span| span.status.as_ref().unwrap().code() == Outcome::Error;
    let command = wait_for_span(&receiver, "load_and_touch").await;
    assert!(is_error(&command));
    assert_eq!(
        attribute_value(&command.attributes, "outcome").unwrap(),
        "unavailable"
    );
    let request = wait_for_span(&receiver, GET).await;
    assert!(is_error(&request));
    assert_eq!(
        attribute_value(&request.attributes, "error.type").unwrap(),
        "store_unavailable"
    );
}

#[tokio::test]
async fn missing_token_does_not_mark_the_trace_span_of_the_request_as_an_error() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let service = start_with_collector(&receiver, &[]).await;
    service
        .request(Method::GET, "/v1/session")
        .send()
        .await
        .unwrap();
    let span = wait_for_span(&receiver, GET).await;
    assert_eq!(span.status.unwrap_or_default().code(), Outcome::Unset);
    assert_eq!(
        attribute_value(&span.attributes, "error.type").unwrap(),
        "missing_token"
    );
    let status = attribute_value(&span.attributes, "http.response.status_code");
    assert_eq!(status.unwrap(), "401");
}

#[tokio::test]
async fn resource_attributes_from_an_environment_variable_are_exported_with_the_trace_spans() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let mut command = service::binary();
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let attributes = "service.name=sessions-prod,k8s.pod.name=tee-1";
    command.env("OTEL_RESOURCE_ATTRIBUTES", attributes);
    let flags = ["--traces-otlp-endpoint", &receiver.endpoint()];
    let service = Service::start(command, &flags).await;
    let request = service.request(Method::GET, "/v1/session");
    request.send().await.unwrap();
    wait_for_span(&receiver, GET).await;
    let resource = |key| receiver.resource(key).unwrap();
    assert_eq!(resource("service.name"), "sessions-prod");
    assert_eq!(resource("k8s.pod.name"), "tee-1");
}

#[tokio::test]
async fn log_lines_of_a_traced_request_contain_its_trace_id() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let service = start_with_collector(&receiver, &["--log-level", "DEBUG"]).await;
    let token = service.log_in("a1b2c3").await;
    let request = service
        .request(Method::GET, "/v1/session")
        .bearer_auth(&token);
    let request = request.header("traceparent", traceparent("01"));
    request.send().await.unwrap();
    eventually(WITHIN, async || {
        let accessed = service.events("Session accessed");
        accessed
            .first()
            .is_some_and(|event| event["span"]["trace_id"] == TRACE_ID)
    })
    .await;
}

#[tokio::test]
async fn api_key_for_the_trace_collector_is_sent_and_not_logged() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("headers");
    std::fs::write(&file, "x-api-key=s3cret-key\n").unwrap();
    let flags = ["--traces-otlp-headers-file", file.to_str().unwrap()];
    let service = start_with_collector(
        &receiver,
        &[flags.as_slice(), &["--log-level", "TRACE"]].concat(),
    )
    .await;
    service
        .request(Method::GET, "/v1/session")
        .send()
        .await
        .unwrap();
    wait_for_span(&receiver, GET).await;
    assert_eq!(receiver.api_key().unwrap(), "s3cret-key");
    assert!(!service.output().contains("s3cret-key"));
}

#[rstest]
#[case::refuses(Behaviour::Refuses)]
#[case::hangs(Behaviour::Hangs)]
#[tokio::test]
async fn refusing_or_hanging_trace_collector_delays_neither_requests_nor_shutdown(
    #[case] behaviour: Behaviour,
) {
    let receiver = TraceReceiver::start(behaviour);
    let flags = [
        "--shutdown-timeout",
        "2",
        "--traces-max-per-second",
        "100000",
    ];
    let mut service = start_with_collector(&receiver, &flags).await;
    let token = service.log_in("a1b2c3").await;
    for _ in 0..3_000 {
        let status = service.status(Method::GET, "/v1/session", &token).await;
        assert_eq!(status, StatusCode::OK);
    }
    let stopping = Instant::now();
    service.signal(Signal::SIGTERM);
    assert!(service.ended(WITHIN).await.success());
    assert!(
        stopping.elapsed() < Duration::from_secs(3),
        "{:?}",
        stopping.elapsed()
    );
    let warnings = service
        .events("Traces cannot be exported: spans are lost until the collector accepts them");
    // The failure is logged at most once. If the collector hangs, the export fails only after the
    // export timeout, and the service may stop before the failure is logged.
    assert!(warnings.len() <= 1, "{}", service.output());
    assert!(behaviour == Behaviour::Hangs || warnings.len() == 1);
}

#[tokio::test]
async fn trace_spans_are_exported_as_soon_as_the_collector_becomes_available() {
    let port = free_port();
    let service = start_with_endpoint(&format!("http://127.0.0.1:{port}"), &[]).await;
    let send_request = async || {
        let request = service.request(Method::GET, "/v1/session");
        request.send().await.unwrap();
    };
    send_request().await;
    let warning = "Traces cannot be exported: spans are lost until the collector accepts them";
    eventually(WITHIN, async || !service.events(warning).is_empty()).await;

    let receiver = TraceReceiver::start_on(port, Behaviour::Accepts);
    eventually(WITHIN, async || {
        send_request().await;
        !receiver.spans(GET).is_empty()
    })
    .await;
    eventually(WITHIN, async || {
        !service.events("Traces are exported again").is_empty()
    })
    .await;
}
