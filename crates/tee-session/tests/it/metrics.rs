//! Tests of the metrics that the binary serves. The tests compare the metrics with their
//! documentation, and check their values after session operations and during a Redis outage.

use std::{collections::BTreeMap, fs::File, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, TestAuthority, TestSite, eventually, free_port};
use tempfile::TempDir;

use crate::{
    documented_metrics::{self, Metric},
    promtool,
    service::{self, Service},
    trace_receiver::{Behaviour, TraceReceiver},
};

const WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn scrape(service: &Service) -> String {
    let started = &service.events("Starting up")[0];
    let address = started["metrics_address"].as_str().unwrap();
    let url = format!("http://{address}/metrics");
    let response = service.client.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap()
}

/// Returns the kind, the label names and the description of each metric in the text of a scrape.
fn metrics_in(scraped: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in scraped.lines() {
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|of| of.split_once(' '))
        {
            metrics.entry(name.to_owned()).or_default().kind = kind.to_owned();
        }
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|of| of.split_once(' '))
        {
            metrics.entry(name.to_owned()).or_default().help = help.to_owned();
        }
    }
    for line in scraped.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = line.split_once('{') else {
            continue;
        };
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| metrics.get_key_value(name.strip_suffix(suffix)?))
            .map_or(name, |(family, _)| family)
            .to_owned();
        let (labels, _) = labels.split_once('}').unwrap();
        let labels = labels
            .split(',')
            .map(|label| label.split_once('=').unwrap().0);
        let labels = labels.filter(|label| *label != "le").map(str::to_owned);
        metrics.entry(family).or_default().labels.extend(labels);
    }
    metrics
}

/// Returns the value of the metric `name` in the text of a scrape, summed over all label values.
/// Panics if the metric is missing.
fn value_of(scraped: &str, name: &str) -> f64 {
    let lines = scraped
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values: Vec<f64> = lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert!(!values.is_empty(), "no {name} in {scraped}");
    values.iter().sum()
}

/// Returns, by name, the metrics that only a service with TLS or other reloaded files has: the
/// expiry time of the certificate, and the success of the last reload of each file.
async fn metrics_of_a_service_with_tls() -> BTreeMap<String, Metric> {
    let names = [
        "tee_session_tls_certificate_expiry_timestamp_seconds",
        "tee_session_last_reload_successful",
    ];
    let authority = TestAuthority::new();
    let certificate = authority.issue("localhost");
    let service = service::start(&[
        "--metrics-port",
        "0",
        "--tls-certificate-file",
        certificate.certificate_file.to_str().unwrap(),
        "--tls-private-key-file",
        certificate.private_key_file.to_str().unwrap(),
    ])
    .await;
    eventually(WITHIN, async || {
        let scraped = scrape(&service).await;
        names.iter().all(|name| scraped.contains(name))
    })
    .await;
    let mut metrics = metrics_in(&scrape(&service).await);
    metrics.retain(|found, _| names.contains(&found.as_str()));
    metrics
}

/// Returns, by name, the metrics of a service with the upstream gateway. The service sends two
/// requests to a site. One answer is a page. The other answer shows that the user is no longer
/// logged in.
async fn metrics_of_a_service_with_a_gateway() -> BTreeMap<String, Metric> {
    let site = TestSite::answering_with(|request| {
        let (status, body) = match request.split(' ').nth(1) {
            Some("/over") => ("419 Over", ""),
            _ => ("200 OK", "hello"),
        };
        let length = body.len();
        let cookie = "Set-Cookie: seen=1";
        format!("HTTP/1.1 {status}\r\n{cookie}\r\nContent-Length: {length}\r\n\r\n{body}")
    })
    .await;
    let service = service::start(&[
        "--metrics-port",
        "0",
        "--upstream-gateway",
        "true",
        "--allowed-base-hosts",
        "127.0.0.1",
        "--upstream-allow-http",
        "true",
        "--upstream-allowed-networks",
        "127.0.0.0/8",
        "--upstream-login-paths",
        "/login",
        "--upstream-expired-statuses",
        "419",
    ])
    .await;
    let log_in = async |site: &str| -> String {
        let body = json!({"cookies": {"sid": "s3cret"}, "base_url": site});
        let request = service.request(Method::POST, "/v1/sessions").json(&body);
        let created: Value = request.send().await.unwrap().json().await.unwrap();
        created["access_token"].as_str().unwrap().to_owned()
    };
    let token = &log_in(&site.url()).await;
    let away = &log_in(&format!("http://127.0.0.1:{}", free_port())).await;
    for (token, path, status) in [
        (token, "/page?a=s3cret", 200),
        (token, "/over", 401),
        (away, "/page", 502),
    ] {
        let path = format!("/v1/upstream{path}");
        let request = service.request(Method::POST, &path).body("123");
        let answer = request.bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), status);
        answer.bytes().await.unwrap();
    }
    let scraped = scrape(&service).await;
    for (outcome, count) in [("merged", 1), ("unchanged", 1)] {
        let labels = format!(r#"{{source="gateway",outcome="{outcome}"}}"#);
        let line = format!("tee_session_cookie_merges_total{labels} {count}\n");
        assert!(scraped.contains(&line), "no {line} in {scraped}");
    }
    for line in [
        r#"requests_total{site="127.0.0.1",outcome="answered"} 1"#,
        r#"requests_total{site="127.0.0.1",outcome="upstream_session_expired"} 1"#,
        r#"requests_total{site="127.0.0.1",outcome="upstream_unreachable"} 1"#,
        r#"connects_total{site="127.0.0.1",outcome="connected"} 1"#,
        r#"connects_total{site="127.0.0.1",outcome="connection"} 1"#,
        r#"connections{site="127.0.0.1"} 1"#,
        r#"sessions_expired_total{site="127.0.0.1",signal="status"} 1"#,
        r#"body_bytes_total{site="127.0.0.1",direction="sent"} 6"#,
        r#"body_bytes_total{site="127.0.0.1",direction="received"} 5"#,
        r#"request_duration_seconds_count{site="127.0.0.1",phase="connect"} 1"#,
        r#"request_duration_seconds_count{site="127.0.0.1",phase="head"} 2"#,
        r#"cookies_unsaved_total{outcome="lost"} 0"#,
        "in_flight 0",
    ] {
        let line = format!("tee_session_upstream_{line}");
        let is_served = scraped.lines().any(|served| served == line);
        assert!(is_served, "no {line} in {scraped}");
    }
    for secret in ["s3cret", "/page", token] {
        assert!(!scraped.contains(secret), "{scraped}");
    }
    let mut metrics = metrics_in(&scraped);
    metrics.retain(|found, _| found.starts_with("tee_session_upstream_"));
    metrics
}

#[tokio::test]
async fn documented_metrics_are_up_to_date_and_pass_promtool() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let flags = ["--redis-url", &url, "--metrics-port", "0"];
    let near = ["--near-cache", "true", "--session-touch-interval", "60"];
    let collector = TraceReceiver::start(Behaviour::Accepts);
    let traces = ["--traces-otlp-endpoint", &collector.endpoint()];
    let mut command = service::binary();
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let service = Service::start(command, &[&flags[..], &near, &traces].concat()).await;
    service.until_ready(WITHIN).await;
    let token = service.log_in("s3cret-cookie").await;
    for _ in 0..3 {
        let status = service.status(Method::GET, "/v1/session", &token).await;
        assert_eq!(status, StatusCode::OK);
    }
    service.status(Method::DELETE, "/v1/session", &token).await;
    service.status(Method::GET, "/v1/session", &token).await;
    let path = format!("/one-of-endless-paths/{token}");
    service.status(Method::GET, &path, &token).await;
    eventually(WITHIN, async || {
        scrape(&service)
            .await
            .contains("tee_session_trace_spans_total{")
    })
    .await;
    let scraped = scrape(&service).await;

    let mut served = metrics_in(&scraped);
    served.extend(metrics_of_a_service_with_tls().await);
    served.extend(metrics_of_a_service_with_a_gateway().await);
    for (name, metric) in &served {
        assert!(!metric.help.is_empty(), "{name} is not in the catalogue");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        documented_metrics::write(&served);
    }
    assert_eq!(
        served,
        documented_metrics::of_the_service(),
        "/metrics (left) and docs/metrics.md (right) differ. Update the page with\n\
         UPDATE_DOCS=1 scripts/test up_to_date\n\
         and commit it."
    );
    for secret in [&token[..8], "s3cret", "golf.example", "endless"] {
        assert!(!scraped.contains(secret), "{scraped}");
    }
    assert_eq!(
        value_of(&scraped, "tee_session_sessions_created_total"),
        1.0
    );
    assert_eq!(value_of(&scraped, "tee_session_sessions_ended_total"), 1.0);

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("scraped");
    std::fs::write(&file, scraped).unwrap();
    promtool::run(
        directory.path(),
        &["check", "metrics"],
        File::open(file).unwrap(),
    );
}

#[tokio::test]
async fn metrics_count_created_rotated_and_ended_sessions() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let flags = ["--redis-url", &url, "--metrics-port", "0"];
    let one = ["--max-sessions-per-subject", "1"];
    let service = service::start(&[flags.as_slice(), &one].concat()).await;
    service.until_ready(WITHIN).await;
    let log_in = async || {
        let request = service.request(Method::POST, "/v1/sessions").json(&json!({
            "cookies": {"SESSIONID": "a1b2c3"},
            "base_url": "https://golf.example",
            "subject": "member-4711",
        }));
        let created: Value = request.send().await.unwrap().json().await.unwrap();
        created["access_token"].as_str().unwrap().to_owned()
    };
    log_in().await;
    let second = log_in().await;
    let rotated = service.status(Method::POST, "/v1/session/rotate", &second);
    assert_eq!(rotated.await, StatusCode::OK);
    let all = service.request(Method::DELETE, "/v1/sessions?subject=member-4711");
    assert_eq!(all.send().await.unwrap().status(), StatusCode::OK);
    let third = log_in().await;
    service.status(Method::DELETE, "/v1/session", &third).await;

    let scraped = scrape(&service).await;
    assert_eq!(
        value_of(&scraped, "tee_session_sessions_created_total"),
        3.0
    );
    assert_eq!(
        value_of(&scraped, "tee_session_sessions_rotated_total"),
        1.0
    );
    for (reason, sessions) in [
        ("evicted", 1),
        ("revoked", 1),
        ("deleted", 1),
        ("expired", 0),
    ] {
        let line = format!(r#"tee_session_sessions_ended_total{{reason="{reason}"}} {sessions}"#);
        assert!(
            scraped.lines().any(|of| of == line),
            "no {line} in {scraped}"
        );
    }
    assert!(!scraped.contains("member-4711"), "{scraped}");
}

#[tokio::test]
async fn metrics_report_the_store_down_during_a_redis_outage_and_up_after_recovery() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let service = service::start(&[
        "--redis-url",
        &url,
        "--metrics-port",
        "0",
        "--workers",
        "1",
        "--redis-command-timeout-ms",
        "300",
    ])
    .await;
    service.until_ready(WITHIN).await;
    let token = service.log_in("a1b2c3").await;
    let state = async |names: [&str; 3]| {
        let scraped = scrape(&service).await;
        names.map(|name| value_of(&scraped, name))
    };
    let names = [
        "tee_session_store_up",
        "tee_session_redis_connections",
        "tee_session_redis_breakers_open",
    ];
    assert_eq!(state(names).await, [1.0, 1.0, 0.0]);

    redis.pause();
    eventually(WITHIN, async || {
        service.status(Method::GET, "/v1/session", &token).await;
        state(names).await == [0.0, 1.0, 1.0]
    })
    .await;
    // After two heartbeats without a reply, the service closes the connection. The attempts to
    // connect again fail.
    eventually(WITHIN, async || {
        let scraped = scrape(&service).await;
        value_of(&scraped, "tee_session_redis_reconnects_total") == 1.0
            && value_of(&scraped, "tee_session_redis_connections") == 0.0
    })
    .await;

    redis.resume();
    eventually(WITHIN, async || state(names).await == [1.0, 1.0, 0.0]).await;
    let scraped = scrape(&service).await;
    let lost = scraped.lines().find(|line| {
        line.starts_with("tee_session_redis_reconnects_total{") && line.ends_with(" 1")
    });
    assert!(lost.is_some_and(|line| line.contains(r#"reason="silent""#)));
}
