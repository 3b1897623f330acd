//! Tests of answers that show that the user is no longer logged in at the site.

use std::num::NonZeroU32;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::json;
use tee_session_api_server::{ApiSettings, InvalidTokenLimit, UpstreamSettings};
use tee_session_test_support::TestSite;

use super::gateway_with;
use crate::test_app::{Store, TestApp, assert_problem};

pub(super) const REDIRECT: &str = "HTTP/1.1 302 Found\r\nSet-Cookie: sid=2; Path=/\r\n\
                                   Location: /login.php\r\nContent-Length: 0\r\n\r\n";
const STATUS: &str =
    "HTTP/1.1 419 Expired\r\nSet-Cookie: sid=2; Path=/\r\nContent-Length: 0\r\n\r\n";
const PAGE: &str = "HTTP/1.1 200 OK\r\nSet-Cookie: sid=2; Path=/\r\nContent-Type: text/html\r\n\
                    Content-Length: 20\r\n\r\n<p>Please log in</p>";

pub(super) fn signals(upstream: &mut UpstreamSettings) {
    let login = &mut upstream.client.login;
    login.paths = vec!["/login.php".to_owned()];
    login.statuses = vec![StatusCode::from_u16(419).unwrap()];
    login.markers = vec!["Please log in".to_owned()];
}

async fn app_with_signals() -> TestApp {
    // The limit allows one invalid token. The next invalid token would be answered with 429.
    let one = NonZeroU32::new(1).unwrap();
    let strict = move |settings: &mut ApiSettings| {
        settings.invalid_token_limit = Some(InvalidTokenLimit::per_second(one, one));
    };
    let builder = TestApp::builder().with(gateway_with(signals)).with(strict);
    builder.spawn(Store::Memory).await
}

#[rstest]
#[case::redirect(REDIRECT)]
#[case::status(STATUS)]
#[case::marker(PAGE)]
#[tokio::test]
async fn request_returns_401_and_keeps_the_session_if_the_site_has_logged_the_user_out(
    #[case] answer: &'static str,
) {
    let site = TestSite::answering(answer).await;
    let app = app_with_signals().await;
    let token = app.log_in_to(&site).await;
    for _ in 0..5 {
        let response = app
            .upstream(Method::GET, &token, "/book")
            .send()
            .await
            .unwrap();
        let fields = response.headers();
        assert_eq!(fields["www-authenticate"], "Bearer realm=\"tee-session\"");
        assert!(!fields.contains_key("via") && !fields.contains_key("set-cookie"));
        let problem = assert_problem(response, 401, "upstream_session_expired").await;
        assert_eq!(problem["outcome"], "unknown");
    }
    assert_eq!(site.seen().requests("/book"), 5);
    // The cookies of the answer are stored, and the session is still live.
    assert_eq!(app.cookies(&token).await, json!({"sid": "2"}));
}

#[tokio::test]
async fn answer_to_a_request_for_the_login_page_is_passed_on_despite_login_signals() {
    let site = TestSite::answering_with(|request| {
        if request.starts_with("POST /login.php?") {
            REDIRECT.to_owned()
        } else {
            PAGE.to_owned()
        }
    })
    .await;
    let app = app_with_signals().await;
    let token = app.log_in_to(&site).await;
    for (method, status) in [(Method::GET, 200), (Method::POST, 302)] {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let request = app.upstream(method, &token, "/login.php?next=book");
        let request = request.build().unwrap();
        let response = client.build().unwrap().execute(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["via"], "1.1 tee-session");
    }
}

#[rstest]
#[case::unauthorized(401)]
#[case::forbidden(403)]
#[case::server_error(500)]
#[case::unavailable(503)]
#[tokio::test]
async fn answer_with_an_error_status_that_is_no_login_signal_is_passed_on(#[case] status: u16) {
    let answer = format!(
        "HTTP/1.1 {status} No\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\nPlease log in"
    );
    let site = TestSite::answering(answer).await;
    let app = app_with_signals().await;
    let token = app.log_in_to(&site).await;
    let response = app.upstream(Method::GET, &token, "/").send().await.unwrap();
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["via"], "1.1 tee-session");
    assert_eq!(response.text().await.unwrap(), "Please log in");
}

#[rstest]
#[case::redirect(REDIRECT, 302)]
#[case::status(STATUS, 419)]
#[case::marker(PAGE, 200)]
#[tokio::test]
async fn every_answer_is_passed_on_if_no_signal_of_an_ended_login_is_configured(
    #[case] answer: &'static str,
    #[case] status: u16,
) {
    let site = TestSite::answering(answer).await;
    let app = TestApp::builder().with(super::gateway);
    let app = app.spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let request = app.upstream(Method::GET, &token, "/").build().unwrap();
    let response = client.build().unwrap().execute(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
    assert_eq!(response.headers()["via"], "1.1 tee-session");
}
