//! Tests that no output of the service contains a secret of a request to a site.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, TestSite, eventually, free_port};

use super::GATEWAY_FLAGS;
use crate::{
    metrics::scrape,
    service::Service,
    trace_receiver::{Behaviour, TraceReceiver},
    traces::{start_with_collector, wait_for_span},
};

const MARKER: &str = "id=\"login-form\"";

fn answer(request: &str) -> String {
    let target = request.split(' ').nth(1).unwrap();
    let page = |fields: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
    };
    let redirect = |to: &str| {
        let cookie = "Set-Cookie: sid=s3cret-after-the-login\r\n";
        format!("HTTP/1.1 302 Found\r\n{cookie}Location: {to}\r\nContent-Length: 0\r\n\r\n")
    };
    match target {
        "/over" => redirect("/login?next=s3cret-next"),
        "/elsewhere" => redirect("https://other.example/?code=s3cret-code"),
        "/status" => "HTTP/1.1 419 s3cret-reason\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/marker" => page(
            "Content-Type: text/html\r\n",
            &format!("<form {MARKER}>s3cret-page</form>"),
        ),
        "/no-http" => "s3cret-no-http\r\n\r\n".to_owned(),
        _ => page(
            "Set-Cookie: sid=s3cret-new; Path=/\r\n\
             Set-Cookie: other=s3cret-other; Domain=other.example\r\n\
             X-Answer: s3cret-answer\r\n",
            "s3cret-body-of-the-answer",
        ),
    }
}

/// Creates a session with a secret cookie, and returns its token.
async fn log_in(service: &Service, base_url: &str) -> String {
    let session = json!({"cookies": {"sid": "s3cret-cookie"}, "base_url": base_url});
    let request = service.request(Method::POST, "/v1/sessions").json(&session);
    let created: Value = request.send().await.unwrap().json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

/// Builds a request to the site through the gateway. The request has secrets in the header fields,
/// in a cookie and in the body.
fn call(service: &Service, token: &str, path: &str) -> RequestBuilder {
    let request = service.request(Method::PUT, &format!("/v1/upstream{path}"));
    let request = request.bearer_auth(token).body("s3cret-body");
    let request = request.header("x-note", "s3cret-field");
    request.header("cookie", "own=s3cret-own-cookie")
}

#[tokio::test]
async fn logs_metrics_and_traces_of_requests_to_sites_contain_no_secret() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let (redis, site) = (
        RedisProcess::start().await,
        TestSite::answering_with(answer).await,
    );
    let url = redis.url();
    let flags = [
        ("--redis-url", url.as_str()),
        ("--hide-cookies", "true"),
        ("--log-level", "TRACE"),
        ("--access-log", "true"),
        ("--metrics-port", "0"),
        ("--upstream-login-paths", "/login"),
        ("--upstream-expired-statuses", "419"),
        ("--upstream-login-markers", MARKER),
    ];
    let flags: Vec<_> = flags
        .iter()
        .flat_map(|(flag, value)| [*flag, *value])
        .collect();
    let flags = [GATEWAY_FLAGS.as_slice(), &flags].concat();
    let service = start_with_collector(&receiver, &flags).await;

    let token = log_in(&service, &site.url()).await;
    for (path, status) in [
        ("/book;jsessionid=s3cret-id?pin=s3cret-pin", 200),
        ("/over", 401),
        ("/status", 401),
        ("/marker", 401),
        ("/elsewhere", 302),
        ("/no-http", 502),
    ] {
        let answer = call(&service, &token, path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let is_of_site = answer.headers().contains_key("via");
        let (fields, text) = (
            format!("{:?}", answer.headers()),
            answer.text().await.unwrap(),
        );
        assert!(is_of_site || !(fields + &text).contains("s3cret"), "{path}");
    }

    // Without the permission for writes, the store refuses the cookies, until they are lost.
    let allow = async |sign: &str| {
        let rules = ["set", "eval", "evalsha"].map(|command| format!("{sign}{command}"));
        let rules = rules.each_ref().map(String::as_str);
        let user = ["ACL", "SETUSER", "default"];
        redis.command(&[user.as_slice(), &rules].concat()).await;
    };
    allow("-").await;
    let answer = call(&service, &token, "/unsaved").send().await.unwrap();
    assert_eq!(answer.headers()["x-upstream-cookies"], "unsaved");
    eventually(Duration::from_secs(10), async || {
        service.events("Upstream cookies lost").len() == 1
    })
    .await;
    allow("+").await;

    let away = log_in(&service, &format!("http://127.0.0.1:{}", free_port())).await;
    let answer = call(&service, &away, "/s3cret-path").send().await.unwrap();
    assert_eq!(answer.status(), 502);
    service.status(Method::GET, "/v1/session", &token).await;
    service.status(Method::DELETE, "/v1/session", &token).await;

    wait_for_span(&receiver, "DELETE /v1/session").await;
    let written = [
        ("log", service.output()),
        ("metrics", scrape(&service).await),
        ("traces", receiver.text()),
    ];
    for event in [
        "Upstream request",
        "Upstream session expired",
        "Upstream unreachable",
        "Upstream request failed",
        "Upstream cookies not kept",
        "Upstream cookies lost",
    ] {
        assert!(written[0].1.contains(event), "{event} is not logged");
    }
    for (name, text) in &written {
        assert!(text.contains("127.0.0.1"), "{name}: the site is named");
        for secret in ["s3cret", &token, &away] {
            let found = text.lines().find(|line| line.contains(secret));
            assert!(found.is_none(), "{secret} in {name}: {found:?}");
        }
    }
}
