//! Tests of the log lines about requests to sites.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::{TestSite, eventually, free_port};

use super::{GATEWAY_FLAGS, token_for};
use crate::service::{self, Service};

const WITHIN: Duration = Duration::from_secs(10);
const FAILED: &str = "Upstream request failed";
const UNREACHABLE: &str = "Upstream unreachable";

async fn start(flags: &[&str]) -> Service {
    service::start(&[GATEWAY_FLAGS.as_slice(), flags].concat()).await
}

async fn call(
    service: &Service,
    base_url: &str,
    method: Method,
) -> Result<Response, reqwest::Error> {
    let token = token_for(service, base_url).await;
    let request = service.request(method, "/v1/upstream/");
    request.bearer_auth(token).send().await
}

#[rstest]
#[case::content_length("Content-Length: 9\r\n\r\nhello", "the body of the answer broke off")]
#[case::chunked(
    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "the body of the answer broke off"
)]
#[case::too_long(
    "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    "the body of the answer is longer than 10 bytes"
)]
#[tokio::test]
async fn truncated_or_too_long_answer_of_a_site_is_logged_with_the_reason(
    #[case] answer: &str,
    #[case] error: &str,
) {
    let site = TestSite::answering_once(format!("HTTP/1.1 200 OK\r\n{answer}")).await;
    let service = start(&["--upstream-max-response-bytes", "10"]).await;
    if let Ok(response) = call(&service, &site.url(), Method::GET).await {
        assert!(response.text().await.is_err());
    }
    eventually(WITHIN, async || service.events(FAILED).len() == 1).await;
    let event = &service.events(FAILED)[0];
    assert_eq!(event["origin"], site.url());
    assert!(
        event["error"].as_str().unwrap().starts_with(error),
        "{event}"
    );
    assert!(event["span"]["request_id"].is_string(), "{event}");
}

#[tokio::test]
async fn sites_that_fail_on_different_ports_of_one_host_are_each_logged_once() {
    let service = start(&[]).await;
    let away = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
    let broken = TestSite::answering_once("").await;
    for base_url in [&away[0], &away[1], &away[0], &broken.url()] {
        let response = call(&service, base_url, Method::GET).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    }
    let origins_of = |message| {
        let events = service.events(message).into_iter();
        events
            .map(|event| event["origin"].clone())
            .collect::<Vec<_>>()
    };
    eventually(WITHIN, async || !origins_of(FAILED).is_empty()).await;
    assert_eq!(origins_of(FAILED), [json!(broken.url())]);
    assert_eq!(origins_of(UNREACHABLE), [json!(away[0]), json!(away[1])]);
}

#[tokio::test]
async fn access_log_has_the_field_from_site_only_if_the_site_itself_sent_the_status() {
    let answer = "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n";
    let site = TestSite::answering(answer).await;
    let service = start(&["--access-log", "true"]).await;
    for method in [Method::POST, Method::TRACE] {
        let response = call(&service, &site.url(), method).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    let marks = || {
        let events = service.events("Request served").into_iter();
        let refused = events.filter(|event| event["status"] == 405);
        refused
            .map(|event| event["from_site"].clone())
            .collect::<Vec<_>>()
    };
    eventually(WITHIN, async || marks().len() == 2).await;
    assert_eq!(marks(), [json!(true), Value::Null]);
}
