//! Tests of session updates (`PATCH /v1/session`, JSON Merge Patch, RFC 7396).

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Map, Value, json};
use tee_session_domain::{SessionToken, contract::repeat_if_late};
use tee_session_test_support::RedisProcess;
use tokio::time::sleep;

use crate::{
    hooked_repository::HookedRepository,
    test_app::{Store, TestApp, assert_problem, build_valid_body, get_etag},
};

async fn patch_session(app: &TestApp, token: &str, patch: Value) -> Value {
    let response = app.patch(token, &patch).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

async fn get_session_body(app: &TestApp, token: &str) -> Value {
    app.get_session(token).await.json().await.unwrap()
}

#[tokio::test]
async fn patch_changes_only_the_members_that_it_contains_and_returns_the_changed_session() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let before = app.get_session(&token).await;
    let tag_before = get_etag(&before);
    let before: Value = before.json().await.unwrap();

    let patch = json!({
        "cookies": {"SESSIONID": "d4e5f6", "lang": null, "new": "ü; ⛳"},
        "base_url": "https://tennis.example/",
    });
    let response = app.patch(&token, &patch).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    let tag = get_etag(&response);
    assert_ne!(tag, tag_before);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        answer["cookies"],
        json!({"SESSIONID": "d4e5f6", "new": "ü; ⛳"})
    );
    assert_eq!(answer["base_url"], "https://tennis.example/");
    for kept in ["session_id", "created_at"] {
        assert_eq!(answer[kept], before[kept]);
    }

    let after = app.get_session(&token).await;
    assert_eq!(get_etag(&after), tag);
    let mut after: Value = after.json().await.unwrap();
    after["expires_at"] = answer["expires_at"].clone();
    assert_eq!(after, answer);
}

#[tokio::test]
async fn empty_patch_changes_nothing_and_renews_the_idle_timeout() {
    repeat_if_late(Duration::from_millis(800), async |pace| {
        let app = TestApp::builder()
            .policy(pace.seconds(2), None)
            .spawn(Store::Memory)
            .await;
        let token = app.log_in().await;
        let tag = get_etag(&app.get_session(&token).await);
        for patch in [
            json!({}),
            json!({"cookies": {}}),
            json!({"cookies": {"none": null}}),
        ] {
            pace.wait(Duration::from_millis(1_200), sleep).await;
            let response = app.patch(&token, &patch).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{patch}");
            assert_eq!(get_etag(&response), tag);
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["cookies"], build_valid_body()["cookies"]);
        }
    })
    .await;
}

#[tokio::test]
async fn patch_does_not_extend_the_absolute_lifetime() {
    repeat_if_late(Duration::from_millis(2_000), async |pace| {
        let app = TestApp::builder()
            .policy(60, Some(pace.seconds(2)))
            .spawn(Store::Memory)
            .await;
        let token = app.log_in().await;
        let before = get_session_body(&app, &token).await;
        let after = patch_session(&app, &token, json!({"cookies": {"a": "1"}})).await;
        assert_eq!(after["expires_at"], before["expires_at"]);
        pace.wait(Duration::from_millis(2_100), sleep).await;
        let response = app.patch(&token, &json!({})).send().await.unwrap();
        assert_problem(response, 401, "invalid_token").await;
    })
    .await;
}

#[tokio::test]
async fn patch_sets_cookies_with_unusual_names_and_may_remove_all_cookies() {
    let app = TestApp::spawn(Store::Redis).await;
    let token = app.log_in().await;
    let odd = json!({"gdpr[allowed]": "x\ty", "my cookie": "1", "": "token"});
    let patched = patch_session(&app, &token, json!({"cookies": odd})).await;
    assert_eq!(patched["cookies"]["gdpr[allowed]"], "x\ty");
    assert_eq!(patched["cookies"][""], "token");
    let names = patched["cookies"].as_object().unwrap().keys();
    let removals: Map<_, _> = names.map(|name| (name.clone(), Value::Null)).collect();
    let patched = patch_session(&app, &token, json!({"cookies": removals})).await;
    assert_eq!(patched["cookies"], json!({}));
    assert_eq!(get_session_body(&app, &token).await["cookies"], json!({}));
}

#[tokio::test]
async fn patched_cookies_keep_their_order_and_new_cookies_are_appended() {
    let app = TestApp::spawn(Store::Redis).await;
    let token = app.log_in().await;
    for patch in [
        r#"{"cookies": {"z": "1", "a": "2"}}"#,
        r#"{"cookies": {"m": "3", "z": "4", "lang": null}}"#,
    ] {
        let request = app.patch(&token, &json!({})).body(patch);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    }
    let text = app.get_session(&token).await.text().await.unwrap();
    let expected = r#""cookies":{"SESSIONID":"a1b2c3","z":"4","a":"2","m":"3"}"#;
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn concurrent_patches_are_all_applied() {
    const CLIENTS: usize = 20;
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let changes = (0..CLIENTS).map(async |n| {
        let patch = json!({"cookies": {format!("c{n}"): n.to_string()}});
        app.patch(&token, &patch).send().await.unwrap().status()
    });
    for status in join_all(changes).await {
        assert_eq!(status, StatusCode::OK);
    }
    let session = get_session_body(&app, &token).await;
    for n in 0..CLIENTS {
        assert_eq!(session["cookies"][format!("c{n}")], n.to_string());
    }
    assert_eq!(session["cookies"]["SESSIONID"], "a1b2c3");
}

#[tokio::test]
async fn patch_concurrent_with_a_logout_does_not_restore_the_session() {
    let app = TestApp::spawn(Store::Memory).await;
    for _ in 0..10 {
        let token = app.log_in().await;
        let patch = json!({"cookies": {"a": "1"}});
        let changes = join_all((0..5).map(|_| app.patch(&token, &patch).send()));
        let (changes, logout) = tokio::join!(changes, app.log_out(&token));
        assert_eq!(logout.status(), StatusCode::NO_CONTENT);
        for change in changes {
            assert!([200, 401].contains(&change.unwrap().status().as_u16()));
        }
        assert_problem(app.get_session(&token).await, 401, "invalid_token").await;
    }
}

#[rstest]
#[case::list(json!([]), &[""])]
#[case::null(json!(null), &[""])]
#[case::text(json!("s3cret"), &[""])]
#[case::cookies_null(json!({"cookies": null}), &["/cookies"])]
#[case::cookies_list(json!({"cookies": ["s3cret"]}), &["/cookies"])]
#[case::cookies_text(json!({"cookies": "a=s3cret"}), &["/cookies"])]
#[case::cookie_number(json!({"cookies": {"a/b": 1}}), &["/cookies/a~1b"])]
#[case::cookie_bool(json!({"cookies": {"a": false}}), &["/cookies/a"])]
#[case::cookie_object(json!({"cookies": {"a": {"s3cret": null}}}), &["/cookies/a"])]
#[case::value_with_line_feed(json!({"cookies": {"a": "s3cret\n"}}), &["/cookies/a"])]
#[case::name_with_semicolon(json!({"cookies": {"a;b": "s3cret"}}), &["/cookies/a;b"])]
#[case::nameless_pair(json!({"cookies": {"": "a=s3cret"}}), &["/cookies/"])]
#[case::long_name(json!({"cookies": {"n".repeat(257) + ";": "1"}}), &["/cookies"])]
#[case::too_long(json!({"cookies": {"a": "v".repeat(8_192)}}), &["/cookies/a"])]
#[case::too_many_cookies(json!({"cookies": (0..179).map(|n| (format!("c{n:03}"), "1".into())).collect::<Map<_, _>>()}), &["/cookies/c178"])]
#[case::too_large_in_total(json!({"cookies": {"a": "v".repeat(8_190), "b": "v".repeat(8_190), "c": "v".repeat(8_190), "d": "v".repeat(8_190)}}), &["/cookies/d"])]
#[case::base_url_null(json!({"base_url": null}), &["/base_url"])]
#[case::base_url_number(json!({"base_url": 1}), &["/base_url"])]
#[case::base_url_relative(json!({"base_url": "/s3cret"}), &["/base_url"])]
#[case::base_url_disallowed_host(json!({"base_url": "https://s3cret.example"}), &["/base_url"])]
#[case::several_members(json!({"cookies": {"a": 1, "b": "\n"}, "base_url": null}), &["/cookies/a", "/cookies/b", "/base_url"])]
#[tokio::test]
async fn patch_that_would_make_the_session_invalid_returns_422_and_changes_nothing(
    #[case] patch: Value,
    #[case] pointers: &[&str],
) {
    let app = TestApp::builder()
        .with(|settings| settings.allowed_base_hosts = "golf.example".parse().unwrap())
        .spawn(Store::Memory)
        .await;
    let token = app.log_in().await;
    let tag = get_etag(&app.get_session(&token).await);
    let response = app.patch(&token, &patch).send().await.unwrap();
    let problem = assert_problem(response, 422, "invalid_session").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
    let errors = problem["errors"].as_array().unwrap().iter();
    let actual: Vec<_> = errors
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(actual, pointers);
    assert_eq!(get_etag(&app.get_session(&token).await), tag);
}

#[rstest]
#[case::empty("")]
#[case::truncated(r#"{"cookies": {"a": "s3cret""#)]
#[case::duplicate_member(r#"{"cookies": {"a": "s3cret"}, "cookies": {"a": null}}"#)]
#[case::duplicate_cookie(r#"{"cookies": {"a": "s3cret", "a": null}}"#)]
#[case::unknown_member(r#"{"s3cret": 1}"#)]
#[case::unknown_member_null(r#"{"s3cret": null}"#)]
#[case::subject(r#"{"subject": "s3cret"}"#)]
#[case::label(r#"{"label": "s3cret"}"#)]
#[case::created_at(r#"{"created_at": "2026-01-15T10:30:00Z"}"#)]
#[case::json_patch(r#"[{"op": "remove", "path": "/cookies/s3cret"}"#)]
#[tokio::test]
async fn malformed_patch_returns_400_without_quoting_the_patch(#[case] body: &'static str) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.patch(&token, &json!({})).body(body);
    let response = request.send().await.unwrap();
    assert!(!response.headers().contains_key("www-authenticate"));
    let problem = assert_problem(response, 400, "invalid_request").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
}

#[rstest]
#[case::no_content_type(None)]
#[case::json_patch(Some("application/json-patch+json"))]
#[case::other_charset(Some("application/merge-patch+json; charset=utf-16"))]
#[case::not_a_media_type(Some("merge-patch"))]
#[tokio::test]
async fn patch_with_an_unsupported_content_type_returns_415_with_the_accept_patch_header(
    #[case] content_type: Option<&str>,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let mut request = app.request(Method::PATCH, "/v1/session").bearer_auth(token);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let response = request.body("{}").send().await.unwrap();
    let accept_patch = response.headers()["accept-patch"].clone();
    assert_eq!(
        accept_patch,
        "application/merge-patch+json, application/json"
    );
    assert_problem(response, 415, "unsupported_media_type").await;
}

#[tokio::test]
async fn patch_as_application_json_is_applied_as_a_merge_patch() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.request(Method::PATCH, "/v1/session");
    let request = request.bearer_auth(&token);
    let patch = json!({"cookies": {"SESSIONID": "d4e5f6", "lang": null}});
    let response = request.json(&patch).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let session: Value = response.json().await.unwrap();
    assert_eq!(session["cookies"], json!({"SESSIONID": "d4e5f6"}));
    assert_eq!(session["base_url"], "https://golf.example/members");
}

#[tokio::test]
async fn compressed_patch_returns_415_and_patch_with_charset_utf_8_is_accepted() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.patch(&token, &json!({}));
    let compressed = request.header("content-encoding", "gzip").send().await;
    assert_problem(compressed.unwrap(), 415, "unsupported_media_type").await;
    let with_charset = app
        .request(Method::PATCH, "/v1/session")
        .bearer_auth(&token)
        .header(
            "content-type",
            "Application/Merge-Patch+JSON; charset=UTF-8",
        );
    let accepted = with_charset.body("{}").send().await.unwrap();
    assert_eq!(accepted.status(), StatusCode::OK);
}

#[tokio::test]
async fn too_large_patch_returns_413() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.patch(&token, &json!({})).body(" ".repeat(65_537));
    assert_problem(request.send().await.unwrap(), 413, "payload_too_large").await;
}

#[tokio::test]
async fn patch_with_an_invalid_or_missing_token_returns_401() {
    let app = TestApp::spawn(Store::Memory).await;
    let logged_out = app.log_in().await;
    app.log_out(&logged_out).await;
    let unknown = SessionToken::generate();
    for token in [&logged_out, unknown.expose_secret(), "x"] {
        let response = app
            .patch(token, &json!({"cookies": {"a": "1"}}))
            .send()
            .await;
        assert_problem(response.unwrap(), 401, "invalid_token").await;
        assert_problem(app.get_session(token).await, 401, "invalid_token").await;
    }
    let without = app.request(Method::PATCH, "/v1/session").send().await;
    assert_problem(without.unwrap(), 401, "missing_token").await;
}

#[tokio::test]
async fn patch_or_rotation_that_always_conflicts_with_other_changes_returns_503() {
    let app = TestApp::builder().spawn_on(HookedRepository::contended());
    app.until_ready().await;
    let token = app.log_in().await;
    let patch = json!({"cookies": {"a": "1"}});
    for response in [
        app.patch(&token, &patch).send().await.unwrap(),
        app.rotate(&token).await,
    ] {
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_problem(response, 503, "overloaded").await;
    }
    assert_eq!(
        get_session_body(&app, &token).await["cookies"],
        build_valid_body()["cookies"]
    );
}

#[tokio::test]
async fn patch_and_rotate_return_503_if_the_store_is_unavailable() {
    let mut redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in().await;
    redis.kill().await;
    for response in [
        app.patch(&token, &json!({})).send().await.unwrap(),
        app.rotate(&token).await,
    ] {
        assert_eq!(response.headers()["retry-after"], "1");
        assert_problem(response, 503, "store_unavailable").await;
    }
}
