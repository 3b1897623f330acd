//! Tests of invalid request bodies, and of the size limits of valid request bodies.

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Store, TestApp, assert_problem, build_valid_body};

async fn send_body(
    app: &TestApp,
    content_type: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Response {
    let mut request = app.request(Method::POST, "/v1/sessions").body(body);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    request.send().await.unwrap()
}

#[rstest]
#[case::none(None)]
#[case::text(Some("text/plain"))]
#[case::form(Some("application/x-www-form-urlencoded"))]
#[case::multipart(Some("multipart/form-data; boundary=x"))]
#[case::utf_16(Some("application/json; charset=utf-16"))]
#[case::merge_patch_json(Some("application/merge-patch+json"))]
#[case::nonsense(Some("nonsense"))]
#[tokio::test]
async fn create_request_with_an_unsupported_content_type_returns_415(
    #[case] content_type: Option<&str>,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let response = send_body(&app, content_type, build_valid_body().to_string()).await;
    assert_problem(response, 415, "unsupported_media_type").await;
}

#[rstest]
#[case::gzip("gzip")]
#[case::brotli("br")]
#[case::nonsense("x")]
#[tokio::test]
async fn compressed_body_returns_415(#[case] encoding: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let response = app
        .request(Method::POST, "/v1/sessions")
        .header("content-encoding", encoding)
        .json(&build_valid_body())
        .send()
        .await
        .unwrap();
    assert_problem(response, 415, "unsupported_media_type").await;
}

#[rstest]
#[case::json("application/json")]
#[case::upper_case("Application/JSON")]
#[case::charset("application/json; charset=utf-8")]
#[case::quoted_charset("application/json; charset=\"UTF-8\"")]
#[tokio::test]
async fn all_spellings_of_the_json_content_type_are_accepted(#[case] content_type: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let response = send_body(&app, Some(content_type), build_valid_body().to_string()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[rstest]
#[case::empty("")]
#[case::truncated("{\"cookies\": ")]
#[case::trailing_object("{} {}")]
#[case::single_quotes("{'cookies': {}}")]
#[case::comment("{} /* s3cret */")]
#[case::byte_order_mark("\u{feff}{}")]
#[case::not_a_number("{\"cookies\": NaN}")]
#[case::huge_number("{\"cookies\": 1e400}")]
#[case::duplicate_member(
    "{\"cookies\": {\"a\": \"s3cret\"}, \"cookies\": {\"a\": \"1\"}, \"base_url\": \"x\"}"
)]
#[case::duplicate_cookie("{\"cookies\": {\"a\": \"1\", \"a\": \"s3cret\"}, \"base_url\": \"x\"}")]
#[case::unknown_member(
    "{\"cookies\": {\"a\": \"1\"}, \"base_url\": \"https://golf.example\", \"s3cret\": 1}"
)]
#[case::line_feed_in_a_string("{\"cookies\": {\"a\": \"s3cret\n\"}, \"base_url\": \"x\"}")]
#[case::nul_in_a_string("{\"cookies\": {\"a\": \"s3cret\0\"}, \"base_url\": \"x\"}")]
#[case::unknown_member_ttl(
    "{\"cookies\": {\"a\": \"1\"}, \"base_url\": \"https://golf.example\", \"ttl\": -1}"
)]
#[case::lone_surrogate("{\"cookies\": {\"a\": \"\\ud800\"}, \"base_url\": \"x\"}")]
#[tokio::test]
async fn malformed_json_body_returns_400_without_quoting_the_body(#[case] body: &'static str) {
    let app = TestApp::spawn(Store::Memory).await;
    let response = send_body(&app, Some("application/json"), body).await;
    assert!(!response.headers().contains_key("www-authenticate"));
    let problem = assert_problem(response, 400, "invalid_request").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
}

#[tokio::test]
async fn json_body_with_invalid_utf_8_or_too_deep_nesting_returns_400() {
    let app = TestApp::spawn(Store::Memory).await;
    let bodies: [Vec<u8>; 4] = [
        b"{\"cookies\": {\"a\": \"\xff\"}}".to_vec(),
        b"{\"cookies\": {\"a\": \"\xc0\x80\"}}".to_vec(),
        "[".repeat(60_000).into_bytes(),
        "{\"a\":".repeat(10_000).into_bytes(),
    ];
    for body in bodies {
        let response = send_body(&app, Some("application/json"), body).await;
        assert_problem(response, 400, "invalid_request").await;
    }
}

#[rstest]
#[case::not_an_object(json!([]), &[""])]
#[case::null(json!(null), &[""])]
#[case::empty(json!({}), &["/cookies", "/base_url"])]
#[case::cookie_list(json!({"cookies": [], "base_url": "https://golf.example"}), &["/cookies"])]
#[case::cookie_number(json!({"cookies": {"a": 1}, "base_url": "https://golf.example"}), &["/cookies/a"])]
#[case::cookie_bool(json!({"cookies": {"a": true}, "base_url": "https://golf.example"}), &["/cookies/a"])]
#[case::cookies_null(json!({"cookies": null, "base_url": "https://golf.example"}), &["/cookies"])]
#[case::cookies_text(json!({"cookies": "a=s3cret", "base_url": "https://golf.example"}), &["/cookies"])]
#[case::cookie_fraction(json!({"cookies": {"a": 1.5e30}, "base_url": "https://golf.example"}), &["/cookies/a"])]
#[case::null_without_a_name(json!({"cookies": {"": null}, "base_url": "https://golf.example"}), &["/cookies/"])]
#[case::only_unusable_names(json!({"cookies": {"a;b": "s3cret", "c=d": "s3cret"}, "base_url": "https://golf.example"}), &["/cookies/a;b", "/cookies/c=d"])]
#[case::long_unusable_name(json!({"cookies": {"s3cret".repeat(50) + ";": "1"}, "base_url": "https://golf.example"}), &["/cookies"])]
#[case::value_too_long(json!({"cookies": {"a": "v".repeat(8_192)}, "base_url": "https://golf.example"}), &["/cookies/a"])]
#[case::one_of_several_of_another_type(json!({"cookies": {"a": "1", "b c": 7}, "base_url": "https://golf.example"}), &["/cookies/b c"])]
#[case::url_null(json!({"cookies": {"a": "s3cret"}, "base_url": null}), &["/base_url"])]
#[case::value_with_line_feed(json!({"cookies": {"a": "1\r\nSet-Cookie: x"}, "base_url": "https://golf.example"}), &["/cookies/a"])]
#[case::value_with_nul(json!({"cookies": {"a": "\u{0}"}, "base_url": "https://golf.example"}), &["/cookies/a"])]
#[case::value_with_delete(json!({"cookies": {"a": "\u{7f}"}, "base_url": "https://golf.example"}), &["/cookies/a"])]
#[case::url_number(json!({"cookies": {"a": "1"}, "base_url": 1}), &["/base_url"])]
#[case::url_relative(json!({"cookies": {"a": "1"}, "base_url": "/x"}), &["/base_url"])]
#[case::url_javascript(json!({"cookies": {"a": "1"}, "base_url": "javascript:alert(1)"}), &["/base_url"])]
#[case::url_credentials(json!({"cookies": {"a": "s3cret"}, "base_url": "https://u:s3cret@golf.example"}), &["/base_url"])]
#[case::url_fragment(json!({"cookies": {"a": "1"}, "base_url": "https://golf.example/#x"}), &["/base_url"])]
#[case::url_port(json!({"cookies": {"a": "1"}, "base_url": "https://golf.example:0"}), &["/base_url"])]
#[case::url_backslash(json!({"cookies": {"a": "1"}, "base_url": "https:\\\\golf.example"}), &["/base_url"])]
#[case::url_control(json!({"cookies": {"a": "1"}, "base_url": "https://golf.example/\u{0}"}), &["/base_url"])]
#[case::url_too_long(json!({"cookies": {"a": "1"}, "base_url": format!("https://golf.example/{}", "p".repeat(2_048))}), &["/base_url"])]
#[case::both_members(json!({"cookies": {"a": 1}, "base_url": "x"}), &["/cookies/a", "/base_url"])]
#[tokio::test]
async fn create_request_with_invalid_json_members_returns_422_with_a_json_pointer_to_each(
    #[case] body: Value,
    #[case] pointers: &[&str],
) {
    let app = TestApp::spawn(Store::Memory).await;
    let problem = assert_problem(app.post_session(&body).await, 422, "invalid_session").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
    let errors = problem["errors"].as_array().unwrap();
    let actual: Vec<_> = errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(actual, pointers);
    assert!(
        errors
            .iter()
            .all(|error| !error["detail"].as_str().unwrap().is_empty())
    );
}

#[rstest]
#[case::semicolon(json!({"a": "x; Path=/"}))]
#[case::unicode(json!({"a": "日本語"}))]
#[case::dollar_name(json!({"$Version": "1"}))]
#[case::host_prefix(json!({"__Host-id": "1"}))]
#[case::secure_prefix(json!({"__Secure-id": "1"}))]
#[case::names_of_cookie_attributes(json!({"Path": "/", "Expires": "never"}))]
#[case::spaces_and_comma(json!({"a": " a, b "}))]
#[case::names_differ_in_case(json!({"a": "1", "A": "2"}))]
#[case::brackets_in_name(json!({"PHPSESSID": "x", "gdpr[allowed_cookies]": "1"}))]
#[case::separators_in_names(json!({"user:id": "1", "a/b": "2", "ID@x": "3", "a,b": "4", "a(b)": "5", "{x}": "6"}))]
#[case::space_in_name(json!({"my cookie": "1"}))]
#[case::unicode_name(json!({"größe": "42"}))]
#[case::tab_and_latin_1_controls(json!({"a": "x\ty\u{85}"}))]
#[case::no_value(json!({"flag": null, "a": ""}))]
#[case::no_name(json!({"": "token"}))]
#[case::no_cookies(json!({}))]
#[case::many_cookies((0..180).map(|n| (format!("c{n}"), "1".into())).collect::<serde_json::Map<_, _>>().into())]
#[case::long_cookies((0..4).map(|n| (format!("c{n}"), "v".repeat(8_190).into())).collect::<serde_json::Map<_, _>>().into())]
#[tokio::test]
async fn unusual_but_valid_cookies_are_stored_unchanged(#[case] cookies: Value) {
    let app = TestApp::spawn(Store::Redis).await;
    let body = json!({"cookies": cookies, "base_url": "http://127.0.0.1:3000/"});
    let created: Value = app.post_session(&body).await.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    let session: Value = app.get_session(token).await.json().await.unwrap();
    assert_eq!(session["cookies"], cookies);
    assert_eq!(session["base_url"], "http://127.0.0.1:3000/");
}

#[tokio::test]
async fn cookies_that_a_session_cannot_hold_are_left_out_and_named_in_the_response() {
    let app = TestApp::spawn(Store::Redis).await;
    let mut cookies = json!({
        "good [1]": "1",
        "line": "s3cret\n",
        "x~y/z;": "s3cret",
        "": "__Host-s3cret",
        "long": "v".repeat(8_190),
    });
    for n in 0..180 {
        cookies[format!("n{n:03}")] = json!("v");
    }
    let body = json!({"cookies": cookies, "base_url": "https://golf.example"});
    let created: Value = app.post_session(&body).await.json().await.unwrap();
    // `json!` sorts the members of an object by name.
    let expected = json!([
        {"pointer": "/cookies/", "reason": "prefix"},
        {"pointer": "/cookies/line", "reason": "syntax"},
        {"pointer": "/cookies/long", "reason": "too_large"},
        {"pointer": "/cookies/n179", "reason": "full"},
        {"pointer": "/cookies/x~0y~1z;", "reason": "syntax"},
    ]);
    assert_eq!(created["ignored"], expected);
    let token = created["access_token"].as_str().unwrap();
    let session: Value = app.get_session(token).await.json().await.unwrap();
    let kept = session["cookies"].as_object().unwrap();
    assert_eq!(kept.len(), 180);
    assert_eq!(kept["good [1]"], "1");
    assert!(!created.to_string().contains("s3cret"), "{created}");
}

#[tokio::test]
async fn response_to_a_login_without_unusable_cookies_has_no_member_ignored() {
    let app = TestApp::spawn(Store::Memory).await;
    let created: Value = app
        .post_session(&build_valid_body())
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(created.get("ignored"), None);
}

#[tokio::test]
async fn request_body_longer_than_the_configured_limit_returns_413() {
    let app = TestApp::builder()
        .with(|s| s.max_body_bytes = 2_000)
        .spawn(Store::Memory)
        .await;
    let too_long = "x".repeat(2_001);
    let response = send_body(&app, Some("application/json"), too_long.clone()).await;
    assert_problem(response, 413, "payload_too_large").await;
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(too_long)]);
    let response = send_body(
        &app,
        Some("application/json"),
        reqwest::Body::wrap_stream(chunks),
    )
    .await;
    assert_problem(response, 413, "payload_too_large").await;
    assert_eq!(
        app.post_session(&build_valid_body()).await.status(),
        StatusCode::CREATED
    );
}

#[rstest]
#[case::at_the_limit(65_536, 201)]
#[case::one_byte_over_the_limit(65_537, 413)]
#[tokio::test]
async fn default_limit_of_the_request_body_length_is_64_kib(
    #[case] len: usize,
    #[case] expected: u16,
    #[values(false, true)] in_chunks: bool,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let body = build_valid_body().to_string();
    let body = format!("{body}{}", " ".repeat(len - body.len()));
    let body = if in_chunks {
        let chunks: Vec<_> = body.as_bytes().chunks(10_000).map(<[u8]>::to_vec).collect();
        let chunks = chunks.into_iter().map(Ok::<_, std::io::Error>);
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
    } else {
        body.into()
    };
    let response = send_body(&app, Some("application/json"), body).await;
    assert_eq!(response.status().as_u16(), expected);
}

#[tokio::test]
async fn body_of_a_get_or_delete_request_is_ignored() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let with_body = |method| {
        app.request(method, "/v1/session")
            .bearer_auth(&token)
            .body("{\"unexpected\": true}")
    };
    assert_eq!(
        with_body(Method::GET).send().await.unwrap().status(),
        StatusCode::OK
    );
    let deleted = with_body(Method::DELETE).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(app.get("/health").await.status(), StatusCode::OK);
}
