//! What goes over the wire, and what is made of the answers.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tee_session_client::{BaseUrl, Client, Cookies, HealthStatus, SessionPatch};

use crate::{
    any_call::{
        AnyCall, CREATED_AT, EXPIRES_AT, NEW_TOKEN, SESSION_ID, TOKEN, authorization, base_url,
        client_of, cookies, etag, health, new_session, session, session_id, token,
    },
    scripted_server::{Received, ScriptedServer, Step},
};

const BASIC: &str = "Basic c2hvcDpzM2NyZXQ=";

fn json_of(request: &Received) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

#[rstest]
#[case(AnyCall::Create, "POST /v1/sessions", true)]
#[case(AnyCall::List, "GET /v1/sessions?subject=member-42", true)]
#[case(AnyCall::EndAll, "DELETE /v1/sessions?subject=member-42", true)]
#[case(AnyCall::EndOne, "DELETE /v1/sessions/j_2qi1vxH8YfgWR4eH1LDg", true)]
#[case(AnyCall::Introspect, "POST /v1/introspect", true)]
#[case(AnyCall::Revoke, "POST /v1/revoke", true)]
#[case(AnyCall::Get, "GET /v1/session", false)]
#[case(AnyCall::Ttl, "GET /v1/session/ttl", false)]
#[case(AnyCall::Authorize, "GET /v1/authorize", false)]
#[case(AnyCall::Update, "PATCH /v1/session", false)]
#[case(AnyCall::Rotate, "POST /v1/session/rotate", false)]
#[case(AnyCall::Delete, "DELETE /v1/session", false)]
#[tokio::test]
async fn each_call_has_its_path_and_its_credentials(
    #[case] call: AnyCall,
    #[case] line: &str,
    #[case] by_service_client: bool,
) {
    let server = ScriptedServer::start([call.success()]).await;
    call.make(&client_of(&server)).await.unwrap();
    let request = server.only_request();
    assert_eq!(request.line, line);
    let expected = if by_service_client { BASIC } else { &bearer() };
    assert_eq!(request.header("authorization"), Some(expected));
}

#[rstest]
#[case(AnyCall::Create)]
#[case(AnyCall::Introspect)]
#[case(AnyCall::Health)]
#[tokio::test]
async fn without_credentials_none_are_sent(#[case] call: AnyCall) {
    let server = ScriptedServer::start([call.success()]).await;
    call.make(&Client::new(server.url()).unwrap())
        .await
        .unwrap();
    assert_eq!(server.only_request().header("authorization"), None);
}

#[tokio::test]
async fn health_is_asked_for_without_credentials() {
    let server = ScriptedServer::start([Step::json(200, &health())]).await;
    let health = client_of(&server).health().await.unwrap();
    assert_eq!(health.status, HealthStatus::Degraded);
    assert!(!health.redis_connected);
    assert_eq!(health.store, "redis");
    let request = server.only_request();
    assert_eq!(request.line, "GET /health");
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn a_login_is_sent_as_it_is() {
    let answer = Step::json_with(201, &[("ETag", r#""v1""#)], &new_session());
    let server = ScriptedServer::start([answer]).await;
    let cookies = Cookies::new([
        ("z".to_owned(), "grün; \"⛳\"".to_owned()),
        ("a".to_owned(), String::new()),
    ])
    .unwrap();
    let client = client_of(&server);
    let (base_url, label) = (base_url(), "Jo's phone");
    let create = client.create(&cookies, &base_url);
    let new = create
        .subject("member-42")
        .label(label)
        .send()
        .await
        .unwrap();
    assert_eq!(new.access_token.expose_secret(), NEW_TOKEN);
    assert_eq!(new.session_id.to_string(), SESSION_ID);
    assert_eq!(new.expires_in, Duration::from_secs(1_800));
    assert_eq!(new.expires_at.unix_timestamp(), 1_768_474_800);
    assert_eq!(new.etag, Some(etag()));
    let request = server.only_request();
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        request.body,
        r#"{"cookies":{"z":"grün; \"⛳\"","a":""},"base_url":"https://golf.example/members","subject":"member-42","label":"Jo's phone"}"#
    );
}

#[tokio::test]
async fn what_is_not_given_is_not_sent() {
    let server = ScriptedServer::start([AnyCall::Create.success()]).await;
    AnyCall::Create.make(&client_of(&server)).await.unwrap();
    let body = json_of(&server.only_request());
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["base_url", "cookies"]);
}

#[tokio::test]
async fn a_session_comes_back_as_it_was_stored() {
    let mut body = session();
    // Older records need not keep the rules of today.
    body["cookies"] = json!("COOKIES");
    body["base_url"] = json!("gopher://old.example");
    body["of_tomorrow"] = json!([1, 2]);
    let cookies = r#"{"not a token": "x", "b": "grün; ⛳"}"#;
    let body = body.to_string().replace("\"COOKIES\"", cookies);
    let answer = Step::answer(200, &[("ETag", r#""v1""#)], &body);
    let server = ScriptedServer::start([answer]).await;
    let session = client_of(&server).session(&token()).get().await.unwrap();
    let stored: Vec<_> = session.cookies.iter().collect();
    assert_eq!(stored, [("not a token", "x"), ("b", "grün; ⛳")]);
    assert_eq!(session.base_url.as_str(), "gopher://old.example");
    assert_eq!(session.session_id, session_id());
    assert_eq!(
        session.created_at.unix_timestamp_nanos() % 1_000_000_000,
        123_456_000
    );
    assert_eq!(session.etag, Some(etag()));
}

#[tokio::test]
async fn what_is_left_of_a_session_is_told_in_seconds() {
    let server = ScriptedServer::start([AnyCall::Ttl.success()]).await;
    let left = client_of(&server).session(&token()).ttl().await.unwrap();
    assert_eq!(left.ttl, Duration::from_secs(1_799));
    assert_eq!(left.expires_at.unix_timestamp(), 1_768_474_800);
}

#[rstest]
#[case::with_a_subject(Some("member-42"))]
#[case::without(None)]
#[tokio::test]
async fn an_authorization_says_whose_session_it_is(#[case] subject: Option<&str>) {
    let mut body = authorization();
    let members = body.as_object_mut().unwrap();
    match subject {
        Some(subject) => members.insert("subject".to_owned(), subject.into()),
        None => members.remove("subject"),
    };
    let answer = Step::json(200, &body);
    let server = ScriptedServer::start([answer]).await;
    let client = client_of(&server);
    let authorized = client.session(&token()).authorize().await.unwrap();
    assert_eq!(authorized.sub, "member-42");
    assert_eq!(authorized.subject.as_deref(), subject);
    assert_eq!(authorized.session_id, session_id());
    assert_eq!(authorized.base_url, base_url());
}

#[tokio::test]
async fn a_change_is_a_merge_patch() {
    let server = ScriptedServer::start([AnyCall::Update.success()]).await;
    let patch = SessionPatch::new()
        .set_cookie("b", "old")
        .remove_cookie("a")
        .set_cookie("b", "new")
        .base_url(&BaseUrl::new("https://other.example").unwrap());
    let client = client_of(&server);
    let session = client.session(&token()).update(&patch).await.unwrap();
    assert_eq!(session.cookies, cookies());
    let request = server.only_request();
    let content_type = request.header("content-type");
    assert_eq!(content_type, Some("application/merge-patch+json"));
    assert_eq!(request.header("if-match"), None);
    let expected = r#"{"cookies":{"b":"new","a":null},"base_url":"https://other.example"}"#;
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn a_change_of_nothing_names_nothing() {
    let server = ScriptedServer::start([AnyCall::Update.success()]).await;
    let client = client_of(&server);
    let (token, patch) = (token(), SessionPatch::new());
    client.session(&token).update(&patch).await.unwrap();
    assert_eq!(server.only_request().body, "{}");
}

#[tokio::test]
async fn a_condition_stands_in_its_field() {
    let server = ScriptedServer::start([AnyCall::UpdateIfMatch.success()]).await;
    AnyCall::UpdateIfMatch
        .make(&client_of(&server))
        .await
        .unwrap();
    assert_eq!(server.only_request().header("if-match"), Some(r#""v1""#));
}

#[tokio::test]
async fn a_rotation_gives_a_new_token() {
    let server = ScriptedServer::start([AnyCall::Rotate.success()]).await;
    let new = client_of(&server).session(&token()).rotate().await.unwrap();
    assert_eq!(new.access_token.expose_secret(), NEW_TOKEN);
    assert_eq!(server.only_request().body, "");
}

#[tokio::test]
async fn sessions_are_listed_page_by_page() {
    let listed = |label: Value| {
        json!({
            "session_id": SESSION_ID,
            "created_at": CREATED_AT,
            "last_seen": CREATED_AT,
            "expires_at": EXPIRES_AT,
            "label": label,
        })
    };
    let mut unlabelled = listed(Value::Null);
    unlabelled.as_object_mut().unwrap().remove("label");
    let pages = [
        json!({"sessions": [listed(json!("Jo's phone"))], "next": "a&b=c/+"}),
        json!({"sessions": [unlabelled]}),
    ];
    let server = ScriptedServer::start(pages.map(|page| Step::json(200, &page))).await;
    let client = client_of(&server);
    let first = client.list_sessions("jo+a&b@golf.example").limit(1);
    let first = first.send().await.unwrap();
    assert_eq!(first.sessions[0].session_id, session_id());
    assert_eq!(first.sessions[0].label.as_deref(), Some("Jo's phone"));
    let next = first.next.unwrap();
    let second = client.list_sessions("jo+a&b@golf.example").after(&next);
    let second = second.send().await.unwrap();
    assert_eq!(second.sessions[0].label, None);
    assert_eq!(second.next, None);
    let lines: Vec<_> = server
        .received()
        .into_iter()
        .map(|request| request.line)
        .collect();
    let expected = [
        "GET /v1/sessions?subject=jo%2Ba%26b%40golf.example&limit=1",
        "GET /v1/sessions?subject=jo%2Ba%26b%40golf.example&after=a%26b%3Dc%2F%2B",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn ending_all_sessions_tells_how_many() {
    let server = ScriptedServer::start([AnyCall::EndAll.success()]).await;
    let ended = client_of(&server).end_sessions("member-42").await;
    assert_eq!(ended.unwrap(), 2);
}

#[tokio::test]
async fn a_token_is_asked_about_in_a_form() {
    let answer = json!({
        "active": true,
        "token_type": "Bearer",
        "sub": "member-42",
        "iat": 1_768_473_000,
        "exp": 1_768_474_800,
        "username": "of tomorrow",
    });
    let server = ScriptedServer::start([Step::json(200, &answer)]).await;
    let active = client_of(&server).introspect(&token()).await.unwrap();
    let active = active.expect("the token opens something");
    assert_eq!(active.sub, "member-42");
    assert_eq!(active.issued_at.unix_timestamp(), 1_768_473_000);
    assert_eq!(active.expires_at.unix_timestamp(), 1_768_474_800);
    let request = server.only_request();
    let content_type = request.header("content-type");
    assert_eq!(content_type, Some("application/x-www-form-urlencoded"));
    assert_eq!(request.body, format!("token={TOKEN}"));
}

#[tokio::test]
async fn a_token_that_opens_nothing_is_none() {
    let server = ScriptedServer::start([AnyCall::Introspect.success()]).await;
    let nothing = client_of(&server).introspect(&token()).await.unwrap();
    assert_eq!(nothing, None);
}
