//! Tests of the API description at `/openapi.json` and of the documentation page at `/docs`.

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::Value;

use crate::test_app::{Store, TestApp, assert_problem};

fn get_header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

/// Returns the sorted HTTP methods that `path` supports according to `operations`, its path item in
/// the API description. The description does not list `HEAD`, nor `OPTIONS` of the health
/// endpoints, so this function adds them.
fn list_described_methods(path: &str, operations: &Value) -> Vec<String> {
    let operations = operations.as_object().unwrap();
    let mut methods: Vec<_> = operations.keys().map(|name| name.to_uppercase()).collect();
    if methods.contains(&"GET".to_owned()) {
        methods.push("HEAD".to_owned());
    }
    if path.starts_with("/health") {
        methods.push("OPTIONS".to_owned());
    }
    methods.sort();
    methods.dedup();
    methods
}

#[tokio::test]
async fn each_path_allows_exactly_the_http_methods_that_the_openapi_description_lists() {
    let app = TestApp::spawn(Store::Memory).await;
    let description: Value = app.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(description["openapi"], "3.1.0");
    for (path, operations) in description["paths"].as_object().unwrap() {
        // These paths support every method. The description states this only in words.
        if path == "/v1/authorize" || path == "/v1/upstream/{path}" {
            continue;
        }
        let unknown = app.request(Method::from_bytes(b"PROPFIND").unwrap(), path);
        let answer = unknown.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let mut allowed: Vec<_> = get_header(&answer, "allow").split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed, list_described_methods(path, operations), "{path}");
    }
}

/// Checks that `/v1/authorize` and its subpaths support every HTTP method. The API description
/// states this only in words.
#[rstest]
#[case::path("/v1/authorize")]
#[case::below("/v1/authorize/members/42")]
#[tokio::test]
async fn authorize_without_a_token_returns_401_and_not_405_for_every_http_method(
    #[case] path: &str,
) {
    const METHODS: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND",
    ];
    let app = TestApp::spawn(Store::Memory).await;
    for method in METHODS {
        let request = app.request(method.parse().unwrap(), path);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method}");
    }
}

#[rstest]
#[case::description("/openapi.json", "application/json", false)]
#[case::page("/docs", "text/html; charset=utf-8", false)]
#[case::script("/docs/page.js", "text/javascript; charset=utf-8", false)]
#[case::page_style("/docs/page.css", "text/css; charset=utf-8", false)]
#[case::swagger_ui("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", true)]
#[case::style("/docs/swagger-ui.css", "text/css; charset=utf-8", true)]
#[case::license("/docs/LICENSE", "text/plain; charset=utf-8", true)]
#[tokio::test]
async fn request_for_openapi_json_or_a_docs_file_with_a_matching_etag_returns_304(
    #[case] path: &str,
    #[case] content_type: &str,
    #[case] is_gzip: bool,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let first = app.get(path).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(get_header(&first, "content-type"), content_type);
    assert_eq!(first.headers().contains_key("content-encoding"), is_gzip);
    assert_eq!(get_header(&first, "cache-control"), "no-cache");
    let etag = get_header(&first, "etag").to_owned();
    assert!(etag.starts_with('"'), "not a strong ETag: {etag}");
    let length = get_header(&first, "content-length").to_owned();
    assert!(!first.bytes().await.unwrap().is_empty());

    let head = app.request(Method::HEAD, path).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(get_header(&head, "content-length"), length);

    for known in [etag.as_str(), "\"other\", *", "*"] {
        let request = app.request(Method::GET, path);
        let again = request.header("if-none-match", known).send().await.unwrap();
        let status = if known.contains("other") { 200 } else { 304 };
        assert_eq!(again.status(), status, "{known}");
        assert_eq!(get_header(&again, "etag"), etag);
    }
    let request = app.request(Method::GET, path);
    let other = request.header("if-none-match", "\"other\"").send().await;
    assert_eq!(other.unwrap().status(), StatusCode::OK);
}

#[rstest]
#[case::page("/docs")]
#[case::part("/docs/swagger-ui-bundle.js")]
#[tokio::test]
async fn docs_page_forbids_inline_scripts_and_content_from_other_origins(#[case] path: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let page = app.get(path).await;
    let policy = get_header(&page, "content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        !policy.contains('*') && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(get_header(&page, "referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn docs_path_with_a_trailing_slash_redirects_to_the_documentation_page() {
    let app = TestApp::spawn(Store::Memory).await;
    let page = app.get("/docs/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.url().path(), "/docs");
    assert_eq!(
        get_header(&page, "content-type"),
        "text/html; charset=utf-8"
    );
}

#[rstest]
#[case("/docs/index.html")]
#[case("/docs/a/b")]
#[case("/docs/..%2Fopenapi.json")]
#[tokio::test]
async fn unknown_path_below_docs_returns_404(#[case] path: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    assert_problem(app.get(path).await, 404, "not_found").await;
}

#[tokio::test]
async fn post_to_a_docs_file_returns_405() {
    let app = TestApp::spawn(Store::Memory).await;
    let request = app.request(Method::POST, "/docs/page.js");
    let refused = request.send().await.unwrap();
    assert_eq!(get_header(&refused, "allow"), "GET, HEAD");
    assert_problem(refused, 405, "method_not_allowed").await;
}
