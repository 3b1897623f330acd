//! Tests of the metrics at `/metrics`.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_api_server::{Scope, ServiceClient, ServiceClients};
use tee_session_domain::SessionId;
use tee_session_test_support::{RedisProcess, eventually};
use tokio::net::TcpStream;

use crate::test_app::{Store, TestApp, allow_one_invalid_token, build_valid_body};

/// SHA-256 hash of the client secret `s3cret` in hexadecimal.
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

const UPDATE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn start_app_with_metrics() -> TestApp {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    TestApp::builder()
        .with(|settings| settings.metrics_address = Some(free))
        .spawn(Store::Redis)
        .await
}

pub(crate) async fn scrape(app: &TestApp) -> String {
    let url = format!("http://{}/metrics", app.metrics_address.unwrap());
    let response = app.client.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    response.text().await.unwrap()
}

/// Returns the value of the metric series with the name `name` and all labels in `labels`. Panics
/// if `scraped` does not contain exactly one such series.
fn get_metric(scraped: &str, name: &str, labels: &[&str]) -> f64 {
    let mut lines = scraped.lines().filter(|line| {
        line.split(['{', ' ']).next() == Some(name)
            && labels.iter().all(|label| line.contains(label))
    });
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no {name} with {labels:?} in {scraped}"));
    assert_eq!(lines.next(), None);
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// The second request is a repetition of the first one, so its cookies are not counted again.
#[tokio::test]
async fn metrics_count_ignored_cookies_by_reason_once_per_created_session() {
    let app = start_app_with_metrics().await;
    let mut login = build_valid_body();
    login["cookies"]["a;b"] = "1".into();
    login["cookies"]["c"] = "\n".into();
    login["cookies"]["d"] = "v".repeat(8_192).into();
    for _ in 0..2 {
        let request = app.request(Method::POST, "/v1/sessions").json(&login);
        let request = request.basic_auth("ci", Some("s3cret"));
        let request = request.header("idempotency-key", "4a1e0d9c-4f6e-4d1b");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    }
    let scraped = scrape(&app).await;
    let count = |reason: &str| {
        let label = format!(r#"reason="{reason}""#);
        get_metric(&scraped, "tee_session_cookies_ignored_total", &[&label])
    };
    let counts = ["syntax", "prefix", "too_large", "full"].map(count);
    assert_eq!(counts, [2.0, 0.0, 1.0, 0.0]);
}

#[tokio::test]
async fn metrics_count_wrong_client_credentials_but_not_requests_without_credentials() {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let ci = ServiceClient::new("ci", &[S3CRET], vec![Scope::Create]).unwrap();
    let app = TestApp::builder()
        .service_clients(ServiceClients::new(vec![ci]))
        .with(|settings| settings.metrics_address = Some(free))
        .spawn(Store::Memory)
        .await;
    // All apps of the process share one recorder of metrics.
    let count = async || {
        let name = "tee_session_wrong_client_credentials_total";
        get_metric(&scrape(&app).await, name, &[])
    };
    let before = count().await;
    app.post_session(&build_valid_body()).await;
    for secret in ["s3cret", "wrong", "also wrong"] {
        let request = app.request(Method::POST, "/v1/sessions");
        let request = request.basic_auth("ci", Some(secret));
        request.json(&build_valid_body()).send().await.unwrap();
    }
    assert_eq!(count().await - before, 2.0);
}

#[tokio::test]
async fn metrics_count_merges_by_outcome_and_ignored_lines_by_reason() {
    let app = start_app_with_metrics().await;
    let created = app.post_session(&build_valid_body()).await;
    let created: Value = created.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    let base_url = build_valid_body()["base_url"].clone();
    for (url, line) in [
        (&base_url, "a=1; Path=/"),
        (&base_url, "a=1; Path=/"),
        (&base_url, "a=2; Domain=com"),
        (&"https://other.example".into(), "a=3"),
    ] {
        let body = json!({"url": url, "set_cookie": [line]});
        let request = app.request(Method::POST, "/v1/session/cookies");
        let response = request.bearer_auth(token).json(&body).send().await;
        response.unwrap();
    }
    let scraped = scrape(&app).await;
    let merges = |outcome: &str| {
        let label = format!(r#"outcome="{outcome}""#);
        let labels = [r#"source="client""#, &label];
        get_metric(&scraped, "tee_session_cookie_merges_total", &labels)
    };
    let outcomes = [
        "merged",
        "unchanged",
        "refused",
        "contended",
        "gone",
        "failed",
    ];
    assert_eq!(outcomes.map(merges), [1.0, 2.0, 1.0, 0.0, 0.0, 0.0]);
    let label = r#"reason="domain""#;
    let ignored = get_metric(&scraped, "tee_session_cookies_ignored_total", &[label]);
    assert_eq!(ignored, 1.0);
}

#[tokio::test]
async fn head_request_to_metrics_returns_the_headers_of_the_get_request() {
    let app = start_app_with_metrics().await;
    let url = format!("http://{}/metrics", app.metrics_address.unwrap());
    let response = app.client.head(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test]
async fn metrics_count_http_requests_store_commands_and_outcomes_of_token_checks() {
    let app = start_app_with_metrics().await;
    let token = app.log_in().await;
    for _ in 0..3 {
        app.get_session(&token).await;
    }
    app.get_session("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")
        .await;
    app.get("/v1/session").await;
    app.get("/one-of-endless-paths").await;
    app.post_session(&json!({})).await;
    app.log_out(&token).await;
    let scraped = scrape(&app).await;

    let requests = "tee_session_http_request_duration_seconds_count";
    let count = |labels: &[&str]| get_metric(&scraped, requests, labels);
    assert_eq!(
        count(&[
            r#"route="/v1/session""#,
            r#"method="GET""#,
            r#"status="200""#
        ]),
        3.0
    );
    assert_eq!(
        count(&[
            r#"route="/v1/session""#,
            r#"method="GET""#,
            r#"status="401""#
        ]),
        2.0
    );
    assert_eq!(
        count(&[
            r#"route="/v1/session""#,
            r#"method="DELETE""#,
            r#"status="204""#
        ]),
        1.0
    );
    assert_eq!(count(&[r#"route="/v1/sessions""#, r#"status="201""#]), 1.0);
    assert_eq!(count(&[r#"route="/v1/sessions""#, r#"status="422""#]), 1.0);
    assert_eq!(count(&[r#"route="unmatched""#, r#"status="404""#]), 1.0);

    let resolutions = "tee_session_bearer_resolutions_total";
    assert_eq!(
        get_metric(&scraped, resolutions, &[r#"outcome="resolved""#]),
        4.0
    );
    assert_eq!(
        get_metric(&scraped, resolutions, &[r#"outcome="invalid_token""#]),
        1.0
    );
    assert_eq!(
        get_metric(&scraped, resolutions, &[r#"outcome="missing_token""#]),
        1.0
    );

    let commands = "tee_session_store_commands_total";
    let fetched = [r#"operation="load_and_touch""#, r#"outcome="ok""#];
    assert_eq!(get_metric(&scraped, commands, &fetched), 3.0);
    let missed = [r#"operation="load_and_touch""#, r#"outcome="not_found""#];
    assert_eq!(get_metric(&scraped, commands, &missed), 1.0);
    assert_eq!(
        get_metric(&scraped, commands, &[r#"operation="insert""#]),
        1.0
    );
    assert_eq!(
        get_metric(&scraped, commands, &[r#"operation="remove""#]),
        1.0
    );
    let durations = "tee_session_store_command_duration_seconds_count";
    assert_eq!(get_metric(&scraped, durations, &fetched), 3.0);

    let created = "tee_session_sessions_created_total";
    assert_eq!(get_metric(&scraped, created, &[]), 1.0);
    let ended = "tee_session_sessions_ended_total";
    assert_eq!(get_metric(&scraped, ended, &[r#"reason="deleted""#]), 1.0);
    assert_eq!(get_metric(&scraped, ended, &[r#"reason="revoked""#]), 0.0);

    assert!(!scraped.contains("one-of-endless-paths"), "{scraped}");
    assert!(!scraped.contains(&token), "{scraped}");
    assert!(!scraped.contains(&token[..8]), "{scraped}");
}

#[tokio::test]
async fn metrics_count_corrupt_session_records_and_invalid_tokens_over_the_limit() {
    use fred::interfaces::KeysInterface;

    let redis = RedisProcess::start().await;
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let app = TestApp::builder()
        .with(|settings| {
            settings.metrics_address = Some(free);
            allow_one_invalid_token(settings);
        })
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    let key = format!("session:{}", SessionId::of(&token.parse().unwrap()));
    let client = redis.client().await;
    let garbage = client.set::<(), _, _>(key, "garbage", None, None, false);
    garbage.await.unwrap();
    assert_eq!(app.get_session(&token).await.status(), 401);
    assert_eq!(app.get_session("x").await.status(), 429);
    app.send_raw(b"nonsense\r\n\r\n", Duration::from_millis(100))
        .await;
    let scraped = scrape(&app).await;
    let failures = "tee_session_connection_failures_total";
    let unreadable = [r#"kind="unreadable_request""#];
    assert_eq!(get_metric(&scraped, failures, &unreadable), 1.0);
    let corrupt = [r#"operation="load_and_touch""#, r#"outcome="corrupt""#];
    let commands = "tee_session_store_commands_total";
    assert_eq!(get_metric(&scraped, commands, &corrupt), 1.0);
    let records = "tee_session_corrupt_records_total";
    assert_eq!(get_metric(&scraped, records, &[]), 1.0);
    let resolutions = "tee_session_bearer_resolutions_total";
    let refused = [r#"outcome="too_many_requests""#];
    assert_eq!(get_metric(&scraped, resolutions, &refused), 1.0);
}

#[tokio::test]
async fn connection_metric_counts_open_connections_until_they_are_closed() {
    let app = start_app_with_metrics().await;
    let open = async || get_metric(&scrape(&app).await, "tee_session_http_connections", &[]);
    let address = app.address;
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    eventually(UPDATE_TIMEOUT, async || open().await >= 5.0).await;
    connections.clear();
    eventually(UPDATE_TIMEOUT, async || open().await < 5.0).await;
}

/// Checks the protection against DNS rebinding. A web page can make its host name resolve to a
/// loopback address. The browser then sends that host name in the `Host` header field.
#[rstest]
#[case::own_name("localhost", 200)]
#[case::name_of_a_web_page("evil.example", 403)]
#[tokio::test]
async fn metrics_request_to_a_loopback_address_with_a_foreign_host_header_returns_403(
    #[case] host: &str,
    #[case] status: u16,
) {
    let app = start_app_with_metrics().await;
    let url = format!("http://{}/metrics", app.metrics_address.unwrap());
    let response = app.client.get(url).header("host", host).send().await;
    assert_eq!(response.unwrap().status(), status);
}

#[tokio::test]
async fn metrics_path_on_the_api_address_returns_404() {
    let app = start_app_with_metrics().await;
    assert_eq!(app.get("/metrics").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        app.post_session(&build_valid_body()).await.status(),
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn authorize_requests_to_all_subpaths_share_one_route_label_and_count_as_token_checks() {
    let app = start_app_with_metrics().await;
    let token = app.log_in().await;
    for path in ["/v1/authorize", "/v1/authorize/one-of-endless-paths"] {
        let request = app.request(Method::OPTIONS, path);
        let served = request.bearer_auth(&token).send().await.unwrap();
        assert_eq!(served.status(), StatusCode::OK);
        assert_eq!(app.get(path).await.status(), StatusCode::UNAUTHORIZED);
    }
    let scraped = scrape(&app).await;
    let requests = "tee_session_http_request_duration_seconds_count";
    let route = r#"route="/v1/authorize""#;
    assert_eq!(
        get_metric(&scraped, requests, &[route, r#"status="200""#]),
        2.0
    );
    assert_eq!(
        get_metric(&scraped, requests, &[route, r#"status="401""#]),
        2.0
    );
    let resolutions = "tee_session_bearer_resolutions_total";
    for outcome in [r#"outcome="resolved""#, r#"outcome="missing_token""#] {
        assert_eq!(get_metric(&scraped, resolutions, &[outcome]), 2.0);
    }
    assert!(!scraped.contains("one-of-endless-paths"), "{scraped}");
}

#[tokio::test]
async fn requests_for_the_docs_page_and_its_files_share_one_route_label_in_the_metrics() {
    let app = start_app_with_metrics().await;
    for path in ["/docs", "/docs/page.js", "/docs/one-of-endless-paths"] {
        app.get(path).await;
    }
    let scraped = scrape(&app).await;
    let requests = "tee_session_http_request_duration_seconds_count";
    let route = r#"route="/docs""#;
    assert_eq!(
        get_metric(&scraped, requests, &[route, r#"status="200""#]),
        2.0
    );
    assert_eq!(
        get_metric(&scraped, requests, &[route, r#"status="404""#]),
        1.0
    );
    assert!(!scraped.contains("one-of-endless-paths"), "{scraped}");
}
