//! Tests of cross-origin requests (CORS) from web pages of other sites.

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;

use crate::test_app::{Store, TestApp, assert_problem};

const APP: &str = "https://app.golf.example";

async fn start_app_with_allowed_origin() -> TestApp {
    TestApp::builder()
        .with(|settings| settings.cors_allowed_origins = APP.parse().unwrap())
        .spawn(Store::Memory)
        .await
}

async fn send_preflight(app: &TestApp, origin: &str) -> Response {
    let request = app.request(Method::OPTIONS, "/v1/session");
    let request = request
        .header("origin", origin)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization");
    request.send().await.unwrap()
}

async fn get_from(app: &TestApp, origin: &str, token: &str) -> Response {
    let request = app.request(Method::GET, "/v1/session").bearer_auth(token);
    request.header("origin", origin).send().await.unwrap()
}

fn has_cors_headers(response: &Response) -> bool {
    let mut names = response.headers().keys();
    names.any(|name| name.as_str().starts_with("access-control-"))
}

#[rstest]
#[case::other_site("https://evil.example")]
#[case::null("null")]
#[tokio::test]
async fn responses_have_no_cors_headers_if_no_origin_is_allowed(#[case] origin: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let refused = send_preflight(&app, origin).await;
    assert!(!has_cors_headers(&refused));
    assert_problem(refused, 405, "method_not_allowed").await;
    let token = app.log_in().await;
    let served = get_from(&app, origin, &token).await;
    assert_eq!(served.status(), StatusCode::OK);
    assert!(!has_cors_headers(&served));
}

#[tokio::test]
async fn responses_to_an_allowed_origin_have_cors_headers_but_no_allow_credentials() {
    let app = start_app_with_allowed_origin().await;
    let response = send_preflight(&app, APP).await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(headers["access-control-allow-origin"], APP);
    let methods = headers["access-control-allow-methods"].to_str().unwrap();
    assert!(methods.contains("DELETE"), "{methods}");
    assert!(methods.contains("PATCH"), "{methods}");
    assert!(!headers.contains_key("access-control-allow-credentials"));

    let token = app.log_in().await;
    let served = get_from(&app, APP, &token).await;
    assert_eq!(served.headers()["access-control-allow-origin"], APP);
    let exposed = served.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(exposed.contains("etag"), "{exposed}");
    let refused = get_from(&app, APP, "x").await;
    assert_eq!(refused.headers()["access-control-allow-origin"], APP);
    assert_problem(refused, 401, "invalid_token").await;
}

#[rstest]
#[case::other_site("https://evil.example")]
#[case::same_prefix("https://app.golf.example.evil.example")]
#[case::other_scheme("http://app.golf.example")]
#[case::other_port("https://app.golf.example:8443")]
#[case::null("null")]
#[tokio::test]
async fn cors_preflight_from_an_origin_that_is_not_allowed_returns_400(#[case] origin: &str) {
    let app = start_app_with_allowed_origin().await;
    let refused = send_preflight(&app, origin).await;
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
    assert_problem(refused, 400, "invalid_request").await;
    let token = app.log_in().await;
    let served = get_from(&app, origin, &token).await;
    assert!(!served.headers().contains_key("access-control-allow-origin"));
}

#[rstest]
#[case::origin("https://evil.example", "GET", "authorization", "cors_allowed_origins")]
#[case::method(
    APP,
    "PUT",
    "authorization",
    "methods GET, HEAD, POST, PATCH and DELETE"
)]
#[case::header(APP, "GET", "x-api-key", "headers Authorization")]
#[tokio::test]
async fn refused_cors_preflight_returns_400_with_the_reason(
    #[case] origin: &str,
    #[case] method: &str,
    #[case] header: &str,
    #[case] reason: &str,
) {
    let app = start_app_with_allowed_origin().await;
    let request = app.request(Method::OPTIONS, "/v1/session");
    let request = request
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", header);
    let refused = request.send().await.unwrap();
    let problem = assert_problem(refused, 400, "invalid_request").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(reason), "{detail}");
}

/// Tests responses that are sent before the request reaches its route.
#[rstest]
#[case::too_long_target(&format!("/v1/session?{}", "q".repeat(9_000)), "x", 414)]
#[case::too_large_header_fields("/v1/session", &"y".repeat(33_000), 431)]
#[case::unknown_path("/nope", "x", 404)]
#[tokio::test]
async fn early_error_responses_can_be_read_by_pages_of_an_allowed_origin(
    #[case] path: &str,
    #[case] long: &str,
    #[case] status: u16,
) {
    let app = start_app_with_allowed_origin().await;
    for origin in [APP, "https://evil.example"] {
        let request = app.request(Method::GET, path).header("x-long", long);
        let response = request.header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), status);
        let headers = response.headers();
        let allowed = headers.get("access-control-allow-origin");
        assert_eq!(allowed.is_some(), origin == APP);
        if let Some(allowed) = allowed {
            assert_eq!(allowed, APP);
            assert!(headers["vary"].to_str().unwrap().contains("Origin"));
            let exposed = headers.get_all("access-control-expose-headers");
            assert!(
                exposed
                    .iter()
                    .any(|names| names.to_str().unwrap().contains("x-request-id"))
            );
        }
    }
}

#[rstest]
#[case::patch("PATCH", "authorization,content-type,if-match")]
#[case::get("GET", "authorization,if-none-match")]
#[case::post("POST", "authorization,content-type,idempotency-key")]
#[case::trace_context("GET", "traceparent,tracestate,x-request-id")]
#[tokio::test]
async fn cors_preflight_from_an_allowed_origin_permits_the_headers_that_the_docs_name(
    #[case] method: &str,
    #[case] headers: &str,
) {
    let app = start_app_with_allowed_origin().await;
    let request = app.request(Method::OPTIONS, "/v1/session");
    let request = request
        .header("origin", APP)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let allowed = response.headers()["access-control-allow-headers"]
        .to_str()
        .unwrap();
    for header in headers.split(',') {
        assert!(allowed.contains(header), "{allowed}");
    }
}
