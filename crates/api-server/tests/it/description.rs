//! `/openapi.json` and `/docs`.

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::Value;

use crate::test_app::{Store, TestApp, assert_problem};

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

/// The methods that a path takes, as its description says.
fn described(operations: &Value) -> Vec<String> {
    let operations = operations.as_object().unwrap();
    let mut methods: Vec<_> = operations.keys().map(|name| name.to_uppercase()).collect();
    if methods.contains(&"GET".to_owned()) {
        methods.push("HEAD".to_owned());
    }
    methods.sort();
    methods.dedup();
    methods
}

#[tokio::test]
async fn each_path_takes_the_methods_that_are_described_and_no_other() {
    let app = TestApp::spawn(Store::Memory).await;
    let description: Value = app.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(description["openapi"], "3.1.0");
    for (path, operations) in description["paths"].as_object().unwrap() {
        let unknown = app.request(Method::from_bytes(b"PROPFIND").unwrap(), path);
        let answer = unknown.send().await.unwrap();
        if path.starts_with("/v1/authorize") {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(described(operations).len(), 8, "{path}");
            continue;
        }
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let mut allowed: Vec<_> = header(&answer, "allow").split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed, described(operations), "{path}");
    }
}

#[rstest]
#[case::description("/openapi.json", "application/json", false)]
#[case::page("/docs", "text/html; charset=utf-8", false)]
#[case::script("/docs/page.js", "text/javascript; charset=utf-8", false)]
#[case::swagger_ui("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", true)]
#[case::style("/docs/swagger-ui.css", "text/css; charset=utf-8", true)]
#[case::license("/docs/LICENSE", "text/plain; charset=utf-8", true)]
#[tokio::test]
async fn a_file_is_sent_once_and_then_only_asked_about(
    #[case] path: &str,
    #[case] content_type: &str,
    #[case] is_gzip: bool,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let first = app.get(path).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(header(&first, "content-type"), content_type);
    assert_eq!(first.headers().contains_key("content-encoding"), is_gzip);
    assert_eq!(header(&first, "cache-control"), "no-cache");
    let etag = header(&first, "etag").to_owned();
    assert!(etag.starts_with('"'), "a strong one: {etag}");
    let length = header(&first, "content-length").to_owned();
    assert!(!first.bytes().await.unwrap().is_empty());

    let head = app.request(Method::HEAD, path).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(header(&head, "content-length"), length);

    for known in [etag.as_str(), "\"other\", *", "*"] {
        let request = app.request(Method::GET, path);
        let again = request.header("if-none-match", known).send().await.unwrap();
        let status = if known.contains("other") { 200 } else { 304 };
        assert_eq!(again.status(), status, "{known}");
        assert_eq!(header(&again, "etag"), etag);
    }
    let request = app.request(Method::GET, path);
    let other = request.header("if-none-match", "\"other\"").send().await;
    assert_eq!(other.unwrap().status(), StatusCode::OK);
}

#[rstest]
#[case::page("/docs")]
#[case::part("/docs/swagger-ui-bundle.js")]
#[tokio::test]
async fn the_page_may_run_nothing_inline_and_talk_to_nobody_else(#[case] path: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let page = app.get(path).await;
    let policy = header(&page, "content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        !policy.contains('*') && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
}

#[rstest]
#[case("/docs/")]
#[case("/docs/index.html")]
#[case("/docs/a/b")]
#[case("/docs/..%2Fopenapi.json")]
#[tokio::test]
async fn nothing_else_is_there(#[case] path: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    assert_problem(app.get(path).await, 404, "not_found").await;
}

#[tokio::test]
async fn a_part_of_the_page_is_only_read() {
    let app = TestApp::spawn(Store::Memory).await;
    let request = app.request(Method::POST, "/docs/page.js");
    let refused = request.send().await.unwrap();
    assert_eq!(header(&refused, "allow"), "GET, HEAD");
    assert_problem(refused, 405, "method_not_allowed").await;
}
