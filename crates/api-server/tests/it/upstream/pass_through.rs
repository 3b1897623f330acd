//! Tests that requests and answers are passed on unchanged, except for the documented changes.

use std::{
    error::Error,
    io::{self, ErrorKind},
    time::Duration,
};

use futures_util::TryFutureExt;
use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use tee_session_test_support::TestSite;
use tokio::io::AsyncWriteExt;

use super::{OK, gateway, gateway_with, with_metrics};
use crate::{
    metrics::scrape,
    test_app::{Store, TestApp},
};

#[rstest]
#[case::path_and_query("/members/book.php?slot=7&date=2026-12-01")]
#[case::root("/")]
#[case::encoded("/a%2Fb%3Fc/?x=%3F%0D%0A&y=a+b")]
#[case::double_slash("//evil.example/x")]
#[case::token_in_the_query("/login?access_token=abc")]
#[case::brackets("/a?slot[0]=7&{x}|^`\\")]
#[tokio::test]
async fn site_receives_the_request_target_byte_for_byte(#[case] target: &str) {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let request = format!(
        "GET /v1/upstream{target} HTTP/1.1\r\nHost: broker.example\r\n\
         Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let answer = app
        .send_raw(request.as_bytes(), Duration::from_secs(2))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(site.seen().requests(target), 1);
}

#[rstest]
#[case("GET", "")]
#[case("HEAD", "")]
#[case("POST", "name=value")]
#[case("PUT", "x")]
#[case("PATCH", "{}")]
#[case("DELETE", "")]
#[case("OPTIONS", "")]
#[tokio::test]
async fn site_receives_the_session_cookies_but_no_cookie_token_or_proxy_field_of_the_client(
    #[case] method: &str,
    #[case] body: &'static str,
) {
    let site = TestSite::answering(OK).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let request = app
        .upstream(method.parse().unwrap(), &token, "/form")
        .header("cookie", "sid=forged")
        .header("user-agent", "Mozilla/5.0")
        .header("x-forwarded-for", "192.0.2.1")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let head = site.seen().last_head();
    assert!(
        head.starts_with(&format!("{method} /form HTTP/1.1\r\n")),
        "{head}"
    );
    assert!(head.contains("\r\nCookie: sid=1\r\n"), "{head}");
    assert!(head.contains("\r\nUser-Agent: Mozilla/5.0\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nHost: {}\r\n", site.address())),
        "{head}"
    );
    for absent in [
        "forged",
        "Authorization",
        "X-Forwarded-For",
        &token,
        "Traceparent",
        "X-Request-Id",
    ] {
        assert!(!head.contains(absent), "{absent} in {head}");
    }
}

#[rstest]
#[case(200, "OK")]
#[case(206, "Partial Content")]
#[case(302, "Found")]
#[case(401, "Unauthorized")]
#[case(404, "Not Found")]
#[case(429, "Too Many Requests")]
#[case(500, "Internal Server Error")]
#[case(503, "Service Unavailable")]
#[tokio::test]
async fn status_and_body_of_the_answer_are_passed_on(#[case] status: u16, #[case] reason: &str) {
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\
         Date: Thu, 15 Jan 2026 10:30:00 GMT\r\nServer: Apache\r\nCache-Control: public\r\n\r\n<html>"
    );
    let site = TestSite::answering(answer).await;
    let origins = "https://app.golf.example".parse().unwrap();
    let app = TestApp::builder()
        .with(gateway)
        .with(|settings| {
            settings.cors_allowed_origins = origins;
            with_metrics(settings);
        })
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let request = app.upstream(Method::GET, &token, "/");
    let response = request
        .header("origin", "https://app.golf.example")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), status);
    let fields = response.headers().clone();
    assert_eq!(fields["via"], "1.1 tee-session");
    assert_eq!(fields["content-type"], "text/html");
    assert_eq!(fields["date"], "Thu, 15 Jan 2026 10:30:00 GMT");
    assert_eq!(fields["server"], "Apache");
    assert_eq!(fields["cache-control"], "no-store");
    assert_eq!(
        fields["content-security-policy"],
        "default-src 'none'; sandbox"
    );
    assert_eq!(fields["x-content-type-options"], "nosniff");
    assert_eq!(fields.get_all("content-length").iter().count(), 1);
    assert!(fields.contains_key("x-request-id"));
    assert!(!fields.contains_key("access-control-allow-origin"));
    assert_eq!(response.text().await.unwrap(), "<html>");
    // Alerts on errors of this service count the label `status`.
    let scraped = scrape(&app).await;
    let of_gateway = scraped
        .lines()
        .filter(|line| line.contains(r#"route="/v1/upstream/{path}""#));
    assert!(
        of_gateway
            .clone()
            .any(|line| line.contains(r#"status="site""#)),
        "{scraped}"
    );
    assert!(
        of_gateway
            .clone()
            .all(|line| !line.contains(r#"status="5"#)),
        "{scraped}"
    );
}

#[rstest]
#[case::chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")]
#[case::until_close("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")]
#[tokio::test]
async fn answer_body_of_unknown_length_is_streamed(#[case] answer: &'static str) {
    let site = TestSite::answering_once(answer).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    assert_eq!(response.text().await.unwrap(), "hello");
}

#[rstest]
#[case::head("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some("5"))]
#[case::head_of_unknown_length("HEAD", "HTTP/1.1 200 OK\r\n\r\n", None)]
#[case::not_modified(
    "GET",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
    Some("5")
)]
#[case::no_content("GET", "HTTP/1.1 204 No Content\r\n\r\n", None)]
#[tokio::test]
async fn answer_without_a_body_keeps_its_content_length_header(
    #[case] method: &str,
    #[case] answer: &'static str,
    #[case] expected: Option<&str>,
) {
    let site = TestSite::answering_once(answer).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let method: Method = method.parse().unwrap();
    let response = app.upstream(method, &token, "/").send().await.unwrap();
    let length = response.headers().get("content-length");
    assert_eq!(length.map(|length| length.to_str().unwrap()), expected);
    assert_eq!(response.bytes().await.unwrap().len(), 0);
    // The connection to the client can still be used.
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

#[rstest]
#[case::length("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")]
#[case::chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")]
#[tokio::test]
async fn incomplete_answer_body_closes_the_client_connection_without_a_regular_end(
    #[case] answer: &'static str,
) {
    let site = TestSite::answering_once(answer).await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_is_cut_off(&response.text().await.unwrap_err());
}

/// Asserts that the connection was closed before the end of the response.
fn assert_is_cut_off(error: &reqwest::Error) {
    let mut innermost: &(dyn Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let is_cut_off = match innermost.downcast_ref().map(io::Error::kind) {
        Some(kind) => [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&kind),
        // The error of hyper if the connection closes before the end of the head.
        None => innermost.to_string() == "connection closed before message completed",
    };
    assert!(is_cut_off, "{error:?}");
}

#[tokio::test]
async fn answer_longer_than_the_limit_is_cut_off() {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{}\r\n0\r\n\r\n",
        "x".repeat(100)
    );
    let site = TestSite::answering_once(answer).await;
    let limit = |upstream: &mut tee_session_api_server::UpstreamSettings| {
        upstream.client.max_response_bytes = Some(99);
    };
    let app = TestApp::builder()
        .with(gateway_with(limit))
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    // The client may see the end of the connection before it sees the head of the answer.
    let answered = app
        .upstream(Method::GET, &token, "/")
        .send()
        .and_then(Response::text);
    assert_is_cut_off(&answered.await.unwrap_err());
}

#[tokio::test]
async fn redirect_within_the_site_is_rewritten_to_a_path_of_the_gateway() {
    let site = TestSite::answering_with(|request| {
        if request.starts_with("GET /start ") {
            "HTTP/1.1 302 Found\r\nLocation: /end?edit=42\r\nContent-Length: 0\r\n\r\n"
        } else {
            OK
        }
    })
    .await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    // reqwest follows redirects by itself.
    let response = app
        .upstream(Method::GET, &token, "/start")
        .send()
        .await
        .unwrap();
    assert_eq!(response.url().path(), "/v1/upstream/end");
    assert_eq!(response.url().query(), Some("edit=42"));
    assert_eq!(response.text().await.unwrap(), "ok");
    assert_eq!(site.seen().requests("/end?edit=42"), 1);
}

#[tokio::test]
async fn redirect_to_another_site_is_returned_in_the_header_x_upstream_location() {
    let other = TestSite::answering(OK).await;
    let location = format!("{}/steal", other.url());
    let site = TestSite::answering(format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers()["x-upstream-location"], location.as_str());
    assert_eq!(other.seen().connections(), 0);
}

#[tokio::test]
async fn slow_answer_is_passed_on_as_it_arrives() {
    let site = TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfir")
            .await;
        // The site sends the second part only after the client has read the first part.
        seen.read_head(&mut stream).await;
    })
    .await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let mut response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "fir");
}
