//! Tests of entity tags and preconditions (RFC 9110, sections 8.8.3 and 13).

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_domain::contract::repeat_if_late;
use tokio::time::sleep;

use crate::test_app::{Store, TestApp, assert_problem, build_valid_body, get_etag};

async fn send_session_request_with_headers(
    app: &TestApp,
    method: Method,
    token: &str,
    fields: &[(&str, &str)],
) -> Response {
    let mut request = app.request(method, "/v1/session").bearer_auth(token);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn patch_with(app: &TestApp, token: &str, fields: &[(&str, &str)]) -> Response {
    let mut request = app.patch(token, &json!({"cookies": {"changed": "1"}}));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn is_changed(app: &TestApp, token: &str) -> bool {
    let session: Value = app.get_session(token).await.json().await.unwrap();
    session["cookies"]["changed"] == "1"
}

#[tokio::test]
async fn post_get_head_and_patch_responses_carry_the_etag_of_the_session() {
    let app = TestApp::spawn(Store::Memory).await;
    let created = app.post_session(&build_valid_body()).await;
    let tag = get_etag(&created);
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let created: Value = created.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    assert_eq!(get_etag(&app.get_session(token).await), tag);
    let head = send_session_request_with_headers(&app, Method::HEAD, token, &[]).await;
    assert_eq!(get_etag(&head), tag);
    let changed = patch_with(&app, token, &[]).await;
    assert_ne!(get_etag(&changed), tag);
    let undone = app.patch(token, &json!({"cookies": {"changed": null}}));
    assert_eq!(get_etag(&undone.send().await.unwrap()), tag);
}

#[tokio::test]
async fn sessions_with_the_same_content_have_different_etags() {
    let app = TestApp::spawn(Store::Memory).await;
    let (one, other) = (app.log_in().await, app.log_in().await);
    let tag = get_etag(&app.get_session(&one).await);
    assert_ne!(get_etag(&app.get_session(&other).await), tag);
}

/// In each case, the character `@` in the values of `If-None-Match` is replaced by the `ETag` of
/// the session.
#[rstest]
#[case::same("@", 304)]
#[case::same_but_weak("W/@", 304)]
#[case::asterisk("*", 304)]
#[case::same_in_a_list(r#""x", W/"y" ,@"#, 304)]
#[case::other(r#""x""#, 200)]
#[tokio::test]
async fn get_or_head_request_with_a_matching_if_none_match_returns_304(
    #[case] if_none_match: &str,
    #[case] expected: u16,
    #[values(Method::GET, Method::HEAD)] method: Method,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let tag = get_etag(&app.get_session(&token).await);
    let field = if_none_match.replace('@', &tag);
    let response =
        send_session_request_with_headers(&app, method, &token, &[("if-none-match", &field)]).await;
    assert_eq!(response.status().as_u16(), expected);
    assert_eq!(get_etag(&response), tag);
    assert_eq!(response.headers()["cache-control"], "no-store");
    if expected == 304 {
        assert!(!response.headers().contains_key("content-type"));
        assert_eq!(response.text().await.unwrap(), "");
    }
}

#[tokio::test]
async fn get_request_answered_with_304_or_412_renews_the_idle_timeout_of_the_session() {
    repeat_if_late(Duration::from_millis(800), async |pace| {
        let app = TestApp::builder()
            .policy(pace.seconds(2), None)
            .spawn(Store::Memory)
            .await;
        let token = app.log_in().await;
        for fields in [("if-none-match", "*"), ("if-match", r#""x""#)] {
            for _ in 0..2 {
                pace.wait(Duration::from_millis(1_200), sleep).await;
                let response =
                    send_session_request_with_headers(&app, Method::GET, &token, &[fields]).await;
                assert!([304, 412].contains(&response.status().as_u16()));
            }
        }
    })
    .await;
}

#[rstest]
#[case::same("@", true)]
#[case::asterisk("*", true)]
#[case::same_in_a_list(r#""x", @"#, true)]
#[case::same_but_weak("W/@", false)]
#[case::other(r#""x""#, false)]
#[tokio::test]
async fn request_whose_if_match_does_not_match_returns_412_and_changes_nothing(
    #[case] if_match: &str,
    #[case] holds: bool,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let tag = get_etag(&app.get_session(&token).await);
    let field = if_match.replace('@', &tag);
    let fields = [("if-match", field.as_str())];
    let shown = send_session_request_with_headers(&app, Method::GET, &token, &fields).await;
    let changed = patch_with(&app, &token, &fields).await;
    if holds {
        assert_eq!(shown.status(), StatusCode::OK);
        assert_eq!(changed.status(), StatusCode::OK);
    } else {
        for refused in [shown, changed] {
            let problem = assert_problem(refused, 412, "precondition_failed").await;
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("send the new ETag"), "{detail}");
            assert!(detail.contains("weak tag"), "{detail}");
        }
    }
    assert_eq!(is_changed(&app, &token).await, holds);
}

/// Checks the order of evaluation that RFC 9110, section 13.2.2, defines for preconditions.
#[tokio::test]
async fn if_match_is_evaluated_before_if_none_match() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let tag = get_etag(&app.get_session(&token).await);
    let get = async |fields: &[_]| {
        send_session_request_with_headers(&app, Method::GET, &token, fields)
            .await
            .status()
    };
    let (known, other) = (tag.as_str(), r#""x""#);
    assert_eq!(
        get(&[("if-match", known), ("if-none-match", known)]).await,
        304
    );
    assert_eq!(
        get(&[("if-match", other), ("if-none-match", known)]).await,
        412
    );
    assert_eq!(
        get(&[("if-match", known), ("if-none-match", other)]).await,
        200
    );
    for field in [known, "*"] {
        let refused = patch_with(&app, &token, &[("if-none-match", field)]).await;
        assert_problem(refused, 412, "precondition_failed").await;
    }
    assert!(!is_changed(&app, &token).await);
}

#[rstest]
#[case::unquoted("s3cret")]
#[case::unterminated("\"s3cret")]
#[case::asterisk_in_a_list("*, \"s3cret\"")]
#[case::empty("")]
#[tokio::test]
async fn malformed_if_match_or_if_none_match_returns_400_and_changes_nothing(
    #[case] value: &str,
    #[values("if-match", "if-none-match")] name: &str,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for response in [
        send_session_request_with_headers(&app, Method::GET, &token, &[(name, value)]).await,
        patch_with(&app, &token, &[(name, value)]).await,
    ] {
        assert!(!response.headers().contains_key("www-authenticate"));
        let problem = assert_problem(response, 400, "invalid_request").await;
        assert!(!problem.to_string().contains("s3cret"), "{problem}");
    }
    assert!(!is_changed(&app, &token).await);
}

/// Checks RFC 9110, section 13.2.1: preconditions are ignored if the response without preconditions
/// would be an error. A client without a valid token must not learn the state of a session.
#[tokio::test]
async fn request_with_an_invalid_token_returns_401_regardless_of_if_match_and_if_none_match() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    app.log_out(&token).await;
    for (name, value) in [("if-match", "*"), ("if-none-match", "*"), ("if-match", "x")] {
        let response =
            send_session_request_with_headers(&app, Method::GET, &token, &[(name, value)]).await;
        assert_problem(response, 401, "invalid_token").await;
    }
    let response = patch_with(&app, &token, &[("if-match", "*")]).await;
    assert_problem(response, 401, "invalid_token").await;
}

#[tokio::test]
async fn exactly_one_of_20_concurrent_updates_with_the_same_if_match_succeeds() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let tag = get_etag(&app.get_session(&token).await);
    let changes = (0..20).map(async |n| {
        let patch = json!({"cookies": {format!("c{n}"): "1"}});
        let request = app.patch(&token, &patch).header("if-match", &tag);
        request.send().await.unwrap()
    });
    let mut succeeded = 0;
    for response in join_all(changes).await {
        if response.status() == StatusCode::OK {
            succeeded += 1;
        } else {
            assert_problem(response, 412, "precondition_failed").await;
        }
    }
    assert_eq!(succeeded, 1);
    let session: Value = app.get_session(&token).await.json().await.unwrap();
    assert_eq!(session["cookies"].as_object().unwrap().len(), 3);
}
