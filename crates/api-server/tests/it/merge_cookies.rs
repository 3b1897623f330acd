//! Tests of `POST /v1/session/cookies`, and of the attributes of cookies.

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Store, TestApp, assert_problem, get_etag};

const URL: &str = "https://golf.example/members/login.php";

fn merge(app: &TestApp, token: &str, body: &Value) -> RequestBuilder {
    let request = app.request(Method::POST, "/v1/session/cookies");
    request.bearer_auth(token).json(body)
}

/// Merges the `Set-Cookie` lines of an answer to a request for [`URL`] into the session, and
/// returns the response body.
async fn merge_lines(app: &TestApp, token: &str, lines: &[&str]) -> Value {
    let body = json!({"url": URL, "set_cookie": lines});
    let response = merge(app, token, &body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

async fn get_with_attributes(app: &TestApp, token: &str) -> Value {
    let path = "/v1/session?attributes=true";
    let response = app.request(Method::GET, path).bearer_auth(token);
    response.send().await.unwrap().json().await.unwrap()
}

async fn log_in(app: &TestApp) -> String {
    let login = json!({
        "cookies": {"PHPSESSID": "old", "lang": "en"},
        "base_url": "https://golf.example/members",
    });
    let created: Value = app.post_session(&login).await.json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

#[rstest]
#[tokio::test]
async fn merged_cookies_are_returned_and_stored(
    #[values(Store::Memory, Store::Redis)] store: Store,
) {
    let app = TestApp::spawn(store).await;
    let token = log_in(&app).await;
    let before = get_etag(&app.get_session(&token).await);
    let lines = [
        "PHPSESSID=new; Path=/; HttpOnly; Secure",
        "csrf=t; SameSite=Lax",
    ];
    let body = json!({"url": URL, "set_cookie": lines});
    let response = merge(&app, &token, &body).send().await.unwrap();
    let tag = get_etag(&response);
    let merged: Value = response.json().await.unwrap();
    let expected = json!({"PHPSESSID": "new", "lang": "en", "csrf": "t"});
    assert_eq!(merged["cookies"], expected);
    assert_eq!(merged["ignored"], json!([]));
    assert_ne!(tag, before);
    let shown = app.get_session(&token).await;
    assert_eq!(get_etag(&shown), tag);
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(shown["cookies"], expected);
    assert_eq!(shown.get("ignored"), None);
    assert_eq!(shown.get("cookie_attributes"), None);
}

#[tokio::test]
async fn cookie_attributes_and_other_cookies_are_returned_on_request_and_survive_a_rotation() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let lines = [
        "sid=1; Path=/members; Secure",
        "sid=2; Path=/admin",
        "id=3; Domain=golf.example; Path=/",
    ];
    merge_lines(&app, &token, &lines).await;
    let attributes = |host_only: bool, path: &str, secure: bool| json!({"domain": "golf.example", "host_only": host_only, "path": path, "secure": secure});
    let mut other = attributes(true, "/admin", false);
    other["name"] = "sid".into();
    other["value"] = "2".into();
    other["position"] = 3.into();
    let check = async |token: &str| {
        let shown = get_with_attributes(&app, token).await;
        let expected = json!({
            "sid": attributes(true, "/members", true),
            "id": attributes(false, "/", false),
        });
        assert_eq!(shown["cookie_attributes"], expected);
        assert_eq!(shown["other_cookies"], json!([other]));
    };
    check(&token).await;
    let rotated: Value = app.rotate(&token).await.json().await.unwrap();
    check(rotated["access_token"].as_str().unwrap()).await;
}

#[tokio::test]
async fn ignored_set_cookie_lines_are_returned_with_their_reasons() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let lines = ["a=1; Domain=com", "b=1", "__Host-c=1", "d=1\u{1}"];
    let merged = merge_lines(&app, &token, &lines).await;
    let expected = json!([
        {"index": 0, "reason": "domain"},
        {"index": 2, "reason": "prefix"},
        {"index": 3, "reason": "syntax"},
    ]);
    assert_eq!(merged["ignored"], expected);
    assert_eq!(merged["cookies"]["b"], "1");
}

#[rstest]
#[case::sent_value(json!({"PHPSESSID": "old"}), false)]
#[case::other_value(json!({"PHPSESSID": "older"}), true)]
#[case::nothing(json!({}), true)]
#[case::null(json!(null), false)]
#[tokio::test]
async fn cookie_is_removed_only_if_its_stored_value_is_the_value_that_was_sent(
    #[case] sent: Value,
    #[case] is_kept: bool,
) {
    let app = TestApp::spawn(Store::Redis).await;
    let token = log_in(&app).await;
    let lines = ["PHPSESSID=deleted; Expires=Thu, 01-Jan-1970 00:00:01 GMT; Path=/"];
    let body = json!({"url": URL, "set_cookie": lines, "sent": sent});
    let response = merge(&app, &token, &body).send().await.unwrap();
    let merged: Value = response.json().await.unwrap();
    assert_eq!(merged["cookies"].get("PHPSESSID").is_some(), is_kept);
}

#[rstest]
#[case::other_host("https://tennis.example/")]
#[case::subdomain("https://www.golf.example/")]
#[case::other_scheme("http://golf.example/")]
#[case::other_port("https://golf.example:8443/")]
#[tokio::test]
async fn url_of_another_origin_returns_422_and_changes_nothing(#[case] url: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let body = json!({"url": url, "set_cookie": ["a=s3cret"]});
    let response = merge(&app, &token, &body).send().await.unwrap();
    let problem = assert_problem(response, 422, "invalid_session").await;
    assert_eq!(problem["errors"][0]["pointer"], "/url");
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
    let shown: Value = app.get_session(&token).await.json().await.unwrap();
    assert_eq!(shown["cookies"].get("a"), None);
}

#[tokio::test]
async fn merge_with_an_outdated_if_match_returns_412() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let tag = get_etag(&app.get_session(&token).await);
    let body = json!({"url": URL, "set_cookie": ["a=1"]});
    let send = async || {
        let request = merge(&app, &token, &body).header("if-match", &tag);
        request.send().await.unwrap()
    };
    assert_eq!(send().await.status(), StatusCode::OK);
    assert_problem(send().await, 412, "precondition_failed").await;
}

#[tokio::test]
async fn concurrent_merges_lose_no_cookie() {
    const CLIENTS: usize = 50;
    // With the embedded store, no other request runs between the load and the change.
    let app = TestApp::spawn(Store::Redis).await;
    let token = log_in(&app).await;
    let merges = (0..CLIENTS).map(async |n| {
        let line = format!("c{n}={n}; Path=/");
        merge_lines(&app, &token, &[&line]).await
    });
    join_all(merges).await;
    let shown: Value = app.get_session(&token).await.json().await.unwrap();
    for n in 0..CLIENTS {
        assert_eq!(shown["cookies"][format!("c{n}")], n.to_string());
    }
}

#[tokio::test]
async fn merge_concurrent_with_a_logout_does_not_restore_the_session() {
    let app = TestApp::spawn(Store::Redis).await;
    for _ in 0..10 {
        let token = log_in(&app).await;
        let body = json!({"url": URL, "set_cookie": ["a=1"]});
        let merges = join_all((0..5).map(|_| merge(&app, &token, &body).send()));
        let (merges, logout) = tokio::join!(merges, app.log_out(&token));
        assert_eq!(logout.status(), StatusCode::NO_CONTENT);
        for merged in merges {
            assert!([200, 401].contains(&merged.unwrap().status().as_u16()));
        }
        assert_problem(app.get_session(&token).await, 401, "invalid_token").await;
    }
}

#[tokio::test]
async fn merge_without_a_valid_token_returns_401() {
    let app = TestApp::spawn(Store::Memory).await;
    let body = json!({"url": URL, "set_cookie": []});
    let unknown = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
    let response: Response = merge(&app, unknown, &body).send().await.unwrap();
    assert_problem(response, 401, "invalid_token").await;
}

#[tokio::test]
async fn get_session_with_an_invalid_or_repeated_attributes_parameter_returns_400() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = log_in(&app).await;
    for query in ["attributes=yes", "attributes=true&attributes=true"] {
        let request = app.request(Method::GET, &format!("/v1/session?{query}"));
        let response = request.bearer_auth(&token).send().await.unwrap();
        assert_problem(response, 400, "invalid_request").await;
    }
}

#[tokio::test]
async fn patch_of_a_cookie_removes_its_attributes_and_all_other_cookies_with_its_name() {
    let app = TestApp::spawn(Store::Redis).await;
    let token = log_in(&app).await;
    merge_lines(
        &app,
        &token,
        &["sid=1; Path=/members", "sid=2; Path=/admin", "b=1"],
    )
    .await;
    let patch = app.patch(&token, &json!({"cookies": {"sid": "3"}}));
    assert_eq!(patch.send().await.unwrap().status(), StatusCode::OK);
    let shown = get_with_attributes(&app, &token).await;
    assert_eq!(shown["cookies"]["sid"], "3");
    assert_eq!(shown["cookie_attributes"].get("sid"), None);
    assert!(shown["cookie_attributes"]["b"].is_object());
    assert_eq!(shown["other_cookies"], json!([]));
}
