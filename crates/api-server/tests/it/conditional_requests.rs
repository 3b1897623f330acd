//! Entity tags and preconditions (RFC 9110, sections 8.8.3 and 13).

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::test_app::{Store, TestApp, assert_problem, etag, valid_body};

async fn get_with(app: &TestApp, method: Method, token: &str, fields: &[(&str, &str)]) -> Response {
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

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn every_answer_with_a_session_names_its_state(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let created = app.post_session(&valid_body()).await;
    let tag = etag(&created);
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let created: Value = created.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    assert_eq!(etag(&app.get_session(token).await), tag);
    let head = get_with(&app, Method::HEAD, token, &[]).await;
    assert_eq!(etag(&head), tag);
    let changed = patch_with(&app, token, &[]).await;
    assert_ne!(etag(&changed), tag);
    let undone = app.patch(token, &json!({"cookies": {"changed": null}}));
    assert_eq!(etag(&undone.send().await.unwrap()), tag);
}

#[tokio::test]
async fn the_state_of_one_session_has_another_name_than_the_same_of_another() {
    let app = TestApp::spawn(Store::Memory).await;
    let (one, other) = (app.log_in().await, app.log_in().await);
    let tag = etag(&app.get_session(&one).await);
    assert_ne!(etag(&app.get_session(&other).await), tag);
}

/// `@` stands for the tag of the session.
#[rstest]
#[case::it("@", 304)]
#[case::weak("W/@", 304)]
#[case::any("*", 304)]
#[case::in_a_list(r#""x", W/"y" ,@"#, 304)]
#[case::another(r#""x""#, 200)]
#[tokio::test]
async fn a_client_that_has_the_state_is_304(
    #[case] if_none_match: &str,
    #[case] expected: u16,
    #[values(Method::GET, Method::HEAD)] method: Method,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let tag = etag(&app.get_session(&token).await);
    let field = if_none_match.replace('@', &tag);
    let response = get_with(&app, method, &token, &[("if-none-match", &field)]).await;
    assert_eq!(response.status().as_u16(), expected);
    assert_eq!(etag(&response), tag);
    assert_eq!(response.headers()["cache-control"], "no-store");
    if expected == 304 {
        assert!(!response.headers().contains_key("content-type"));
        assert_eq!(response.text().await.unwrap(), "");
    }
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn who_is_told_that_nothing_changed_has_used_the_session(#[case] store: Store) {
    let app = TestApp::builder().policy(2, None).spawn(store).await;
    let token = app.log_in().await;
    for fields in [("if-none-match", "*"), ("if-match", r#""x""#)] {
        for _ in 0..2 {
            sleep(Duration::from_millis(1_200)).await;
            let response = get_with(&app, Method::GET, &token, &[fields]).await;
            assert!([304, 412].contains(&response.status().as_u16()));
        }
    }
}

#[rstest]
#[case::it("@", true)]
#[case::any("*", true)]
#[case::in_a_list(r#""x", @"#, true)]
#[case::weak("W/@", false)]
#[case::another(r#""x""#, false)]
#[tokio::test]
async fn what_is_for_another_state_is_412_and_changes_nothing(
    #[case] if_match: &str,
    #[case] holds: bool,
    #[values(Store::Memory, Store::Redis)] store: Store,
) {
    let app = TestApp::spawn(store).await;
    let token = app.log_in().await;
    let tag = etag(&app.get_session(&token).await);
    let field = if_match.replace('@', &tag);
    let fields = [("if-match", field.as_str())];
    let shown = get_with(&app, Method::GET, &token, &fields).await;
    let changed = patch_with(&app, &token, &fields).await;
    if holds {
        assert_eq!(shown.status(), StatusCode::OK);
        assert_eq!(changed.status(), StatusCode::OK);
    } else {
        assert_problem(shown, 412, "precondition_failed").await;
        assert_problem(changed, 412, "precondition_failed").await;
    }
    assert_eq!(is_changed(&app, &token).await, holds);
}

/// Section 13.2.2 says which is looked at first.
#[tokio::test]
async fn both_conditions_are_looked_at_in_order() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let tag = etag(&app.get_session(&token).await);
    let get = async |fields: &[_]| get_with(&app, Method::GET, &token, fields).await.status();
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
#[case::word("s3cret")]
#[case::no_end("\"s3cret")]
#[case::any_in_a_list("*, \"s3cret\"")]
#[case::empty("")]
#[tokio::test]
async fn a_malformed_condition_is_400_and_changes_nothing(
    #[case] value: &str,
    #[values("if-match", "if-none-match")] name: &str,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for response in [
        get_with(&app, Method::GET, &token, &[(name, value)]).await,
        patch_with(&app, &token, &[(name, value)]).await,
    ] {
        assert!(!response.headers().contains_key("www-authenticate"));
        let problem = assert_problem(response, 400, "invalid_request").await;
        assert!(!problem.to_string().contains("s3cret"), "{problem}");
    }
    assert!(!is_changed(&app, &token).await);
}

/// Section 13.2.1: whoever may not ask at all learns nothing of states.
#[tokio::test]
async fn conditions_do_not_matter_without_a_session() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    app.log_out(&token).await;
    for (name, value) in [("if-match", "*"), ("if-none-match", "*"), ("if-match", "x")] {
        let response = get_with(&app, Method::GET, &token, &[(name, value)]).await;
        assert_problem(response, 401, "invalid_token").await;
    }
    let response = patch_with(&app, &token, &[("if-match", "*")]).await;
    assert_problem(response, 401, "invalid_token").await;
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn of_many_changes_of_one_state_one_is_made(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let token = app.log_in().await;
    let tag = etag(&app.get_session(&token).await);
    let changes = (0..20).map(async |n| {
        let patch = json!({"cookies": {format!("c{n}"): "1"}});
        let request = app.patch(&token, &patch).header("if-match", &tag);
        request.send().await.unwrap()
    });
    let mut made = 0;
    for response in join_all(changes).await {
        if response.status() == StatusCode::OK {
            made += 1;
        } else {
            assert_problem(response, 412, "precondition_failed").await;
        }
    }
    assert_eq!(made, 1);
    let session: Value = app.get_session(&token).await.json().await.unwrap();
    assert_eq!(session["cookies"].as_object().unwrap().len(), 3);
}
