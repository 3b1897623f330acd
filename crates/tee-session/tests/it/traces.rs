//! Traces of the binary, as a collector receives them.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode as Outcome};
use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually, free_port};

use crate::{
    service::{self, Service},
    trace_receiver::{Behaviour, TraceReceiver, value},
};

const WITHIN: Duration = Duration::from_secs(10);
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN_ID: &str = "00f067aa0ba902b7";
pub(crate) const GET: &str = "GET /v1/session";

/// Sends what it recorded every 50 ms.
pub(crate) async fn start(receiver: &TraceReceiver, flags: &[&str]) -> Service {
    start_for(&receiver.endpoint(), flags).await
}

async fn start_for(endpoint: &str, flags: &[&str]) -> Service {
    let mut command = service::binary();
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let endpoint = ["--traces-otlp-endpoint", endpoint];
    let service = Service::start(command, &[flags, &endpoint].concat()).await;
    service.until_ready(WITHIN).await;
    service
}

pub(crate) async fn received(receiver: &TraceReceiver, name: &str) -> Span {
    eventually(WITHIN, async || !receiver.spans(name).is_empty()).await;
    receiver.spans(name).remove(0)
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE_ID}-{SPAN_ID}-{flags}")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_request_is_a_trace_of_its_resolution_and_its_store_command() {
    let (receiver, redis) = (
        TraceReceiver::start(Behaviour::Takes),
        RedisProcess::start().await,
    );
    let service = start(&receiver, &["--redis-url", &redis.url()]).await;
    let token = service.log_in("s3cret-cookie").await;
    let request = service.request(Method::GET, "/v1/session");
    let answer = request.bearer_auth(&token).send().await.unwrap();
    let said = answer.headers()["traceresponse"]
        .to_str()
        .unwrap()
        .to_owned();

    let request = received(&receiver, GET).await;
    assert_eq!(request.kind, i32::from(SpanKind::Server as u8));
    assert_eq!(
        value(&request.attributes, "http.request.method").unwrap(),
        "GET"
    );
    assert_eq!(
        value(&request.attributes, "http.route").unwrap(),
        "/v1/session"
    );
    assert_eq!(
        value(&request.attributes, "http.response.status_code").unwrap(),
        "200"
    );
    assert!(request.parent_span_id.is_empty());
    let (trace_id, span_id) = (
        hexadecimal(&request.trace_id),
        hexadecimal(&request.span_id),
    );
    assert_eq!(said, format!("00-{trace_id}-{span_id}-01"));

    let resolution = received(&receiver, "resolve session").await;
    assert_eq!(resolution.trace_id, request.trace_id);
    assert_eq!(resolution.parent_span_id, request.span_id);

    let command = received(&receiver, "fetch_and_slide").await;
    assert_eq!(command.trace_id, request.trace_id);
    assert_eq!(command.parent_span_id, resolution.span_id);
    assert_eq!(command.kind, i32::from(SpanKind::Client as u8));
    assert_eq!(
        value(&command.attributes, "db.system.name").unwrap(),
        "redis"
    );
    assert_eq!(value(&command.attributes, "outcome").unwrap(), "ok");
    assert!(command.start_time_unix_nano >= request.start_time_unix_nano);
    assert!(command.end_time_unix_nano <= request.end_time_unix_nano);

    assert_eq!(receiver.resource("service.name").unwrap(), "tee-session");
    assert_eq!(
        receiver.resource("service.version").unwrap(),
        env!("CARGO_PKG_VERSION")
    );
    received(&receiver, "insert").await;
}

#[tokio::test]
async fn no_span_holds_a_secret_a_subject_or_a_url() {
    let (receiver, redis) = (
        TraceReceiver::start(Behaviour::Takes),
        RedisProcess::start().await,
    );
    let service = start(&receiver, &["--redis-url", &redis.url()]).await;
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
    received(&receiver, "GET /v1/authorize").await;
    received(&receiver, "GET unmatched").await;
    received(&receiver, "list sessions").await;
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
#[case::recorded_by_its_caller("01", "0", true)]
#[case::not_recorded_by_its_caller("00", "1", false)]
#[tokio::test]
async fn the_caller_decides_whether_its_request_is_recorded(
    #[case] flags: &str,
    #[case] ratio: &str,
    #[case] is_recorded: bool,
) {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let mut service = start(&receiver, &["--traces-sample-ratio", ratio]).await;
    let token = service.log_in("a1b2c3").await;
    let request = service.request(Method::GET, "/v1/session");
    let answer = request
        .bearer_auth(&token)
        .header("traceparent", traceparent(flags))
        .send()
        .await;
    let field = answer.unwrap().headers().get("traceresponse").cloned();
    assert_eq!(field.is_some(), is_recorded);
    // All that there is to send is sent before the end.
    service.signal(Signal::SIGTERM);
    assert!(service.ended(WITHIN).await.success());
    let spans = receiver.spans(GET);
    assert_eq!(spans.len(), usize::from(is_recorded));
    for below in ["resolve session", "fetch_and_slide"] {
        assert_eq!(receiver.spans(below).len(), spans.len(), "{below}");
    }
    if let Some(span) = spans.first() {
        assert_eq!(hexadecimal(&span.trace_id), TRACE_ID);
        assert_eq!(hexadecimal(&span.parent_span_id), SPAN_ID);
    }
}

#[tokio::test]
async fn a_caller_that_cannot_be_read_is_none() {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let service = start(&receiver, &[]).await;
    let request = service.request(Method::GET, "/v1/session");
    let malformed = traceparent("01").to_uppercase();
    request
        .header("traceparent", malformed)
        .send()
        .await
        .unwrap();
    let span = received(&receiver, GET).await;
    assert!(span.parent_span_id.is_empty());
    assert_ne!(hexadecimal(&span.trace_id), TRACE_ID);
}

#[tokio::test]
async fn callers_cannot_have_more_recorded_than_the_most_of_a_second() {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let flags = ["--traces-max-per-second", "1", "--log-level", "DEBUG"];
    let mut service = start(&receiver, &flags).await;
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
    // The others have a span for their log lines.
    let lines = service.events("Request completed").into_iter();
    let lines = lines.filter(|line| line["span"]["route"] == "/v1/session");
    let (exported, others): (Vec<_>, Vec<_>) =
        lines.partition(|line| line["span"].get("trace_id").is_some());
    assert_eq!(exported.len() as u64, recorded);
    assert_eq!(others.len() as u64, 50 - recorded);
}

#[tokio::test]
async fn probes_have_a_span_that_is_not_exported() {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let mut service = start(&receiver, &["--log-level", "DEBUG"]).await;
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
async fn a_store_that_is_away_is_an_error_of_its_command_and_of_its_request() {
    let (receiver, mut redis) = (
        TraceReceiver::start(Behaviour::Takes),
        RedisProcess::start().await,
    );
    let service = start(&receiver, &["--redis-url", &redis.url()]).await;
    let token = service.log_in("a1b2c3").await;
    redis.kill().await;
    let status = service.status(Method::GET, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    let is_error = |span: &Span| span.status.as_ref().unwrap().code() == Outcome::Error;
    let command = received(&receiver, "fetch_and_slide").await;
    assert!(is_error(&command));
    assert_eq!(
        value(&command.attributes, "outcome").unwrap(),
        "unavailable"
    );
    let request = received(&receiver, GET).await;
    assert!(is_error(&request));
    assert_eq!(
        value(&request.attributes, "error.type").unwrap(),
        "store_unavailable"
    );
}

#[tokio::test]
async fn a_wrong_token_is_no_error_of_the_service() {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let service = start(&receiver, &[]).await;
    service
        .request(Method::GET, "/v1/session")
        .send()
        .await
        .unwrap();
    let span = received(&receiver, GET).await;
    assert_eq!(span.status.unwrap_or_default().code(), Outcome::Unset);
    assert_eq!(
        value(&span.attributes, "error.type").unwrap(),
        "missing_token"
    );
    let status = value(&span.attributes, "http.response.status_code");
    assert_eq!(status.unwrap(), "401");
}

#[tokio::test]
async fn the_platform_may_name_the_service_and_say_where_it_runs() {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let mut command = service::binary();
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let attributes = "service.name=sessions-prod,k8s.pod.name=tee-1";
    command.env("OTEL_RESOURCE_ATTRIBUTES", attributes);
    let flags = ["--traces-otlp-endpoint", &receiver.endpoint()];
    let service = Service::start(command, &flags).await;
    let request = service.request(Method::GET, "/v1/session");
    request.send().await.unwrap();
    received(&receiver, GET).await;
    let resource = |key| receiver.resource(key).unwrap();
    assert_eq!(resource("service.name"), "sessions-prod");
    assert_eq!(resource("k8s.pod.name"), "tee-1");
}

#[tokio::test]
async fn log_lines_name_the_trace() {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let service = start(&receiver, &["--log-level", "DEBUG"]).await;
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
async fn the_collectors_key_goes_with_each_batch_and_is_shown_nowhere() {
    let receiver = TraceReceiver::start(Behaviour::Takes);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headers");
    std::fs::write(&file, "x-api-key=s3cret-key\n").unwrap();
    let flags = ["--traces-otlp-headers-file", file.to_str().unwrap()];
    let service = start(
        &receiver,
        &[flags.as_slice(), &["--log-level", "TRACE"]].concat(),
    )
    .await;
    service
        .request(Method::GET, "/v1/session")
        .send()
        .await
        .unwrap();
    received(&receiver, GET).await;
    assert_eq!(receiver.api_key().unwrap(), "s3cret-key");
    assert!(!service.output().contains("s3cret-key"));
}

#[rstest]
#[case::refuses(Behaviour::Refuses)]
#[case::hangs(Behaviour::Hangs)]
#[tokio::test]
async fn a_collector_in_trouble_costs_spans_and_nothing_else(#[case] behaviour: Behaviour) {
    let receiver = TraceReceiver::start(behaviour);
    let flags = [
        "--shutdown-timeout",
        "2",
        "--traces-max-per-second",
        "100000",
    ];
    let mut service = start(&receiver, &flags).await;
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
    let complaints = service
        .events("Traces cannot be exported: their spans are lost until the collector takes them");
    // It is said once; of one that hangs it is known after the time that a batch may take.
    assert!(complaints.len() <= 1, "{}", service.output());
    assert!(behaviour == Behaviour::Hangs || complaints.len() == 1);
}

#[tokio::test]
async fn a_collector_that_comes_later_is_sent_what_is_recorded_from_then_on() {
    let port = free_port();
    let service = start_for(&format!("http://127.0.0.1:{port}"), &[]).await;
    let ask = async || {
        let request = service.request(Method::GET, "/v1/session");
        request.send().await.unwrap();
    };
    ask().await;
    let complaint =
        "Traces cannot be exported: their spans are lost until the collector takes them";
    eventually(WITHIN, async || !service.events(complaint).is_empty()).await;

    let receiver = TraceReceiver::start_on(port, Behaviour::Takes);
    eventually(WITHIN, async || {
        ask().await;
        !receiver.spans(GET).is_empty()
    })
    .await;
    eventually(WITHIN, async || {
        !service.events("Traces are exported again").is_empty()
    })
    .await;
}
