//! Tests of the format of requests, and of the parsing of responses.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tee_session_client::{BaseUrl, Client, CookieHeaderError, Cookies, HealthStatus, SessionPatch};

use crate::{
    any_call::{
        AnyCall, COOKIE_VALUE, CREATED_AT, EXPIRES_AT, NEW_TOKEN, SESSION_ID, TOKEN,
        build_authorization, build_cookies, build_found_session, build_health, build_new_session,
        build_session, create_client, parse_base_url, parse_etag, parse_session_id, parse_token,
    },
    scripted_server::{Received, ScriptedServer, Step},
};

const BASIC: &str = "Basic c2hvcDpzM2NyZXQ=";

fn parse_body(request: &Received) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

fn format_bearer() -> String {
    format!("Bearer {TOKEN}")
}

#[rstest]
#[case(AnyCall::Create, "POST /v1/sessions", true)]
#[case(AnyCall::List, "GET /v1/sessions?subject=member-42", true)]
#[case(AnyCall::EndAll, "DELETE /v1/sessions?subject=member-42", true)]
#[case(
    AnyCall::Find,
    "GET /v1/sessions/j_2qi1vxH8YfgWR4eH1LDg?subject=member-42",
    true
)]
#[case(AnyCall::EndOne, "DELETE /v1/sessions/j_2qi1vxH8YfgWR4eH1LDg", true)]
#[case(AnyCall::Introspect, "POST /v1/introspect", true)]
#[case(AnyCall::Revoke, "POST /v1/revoke", true)]
#[case(AnyCall::Get, "GET /v1/session", false)]
#[case(AnyCall::Ttl, "GET /v1/session/ttl", false)]
#[case(AnyCall::Authorize, "GET /v1/authorize", false)]
#[case(AnyCall::Update, "PATCH /v1/session", false)]
#[case(AnyCall::GetWithAttributes, "GET /v1/session?attributes=true", false)]
#[case(AnyCall::MergeCookies, "POST /v1/session/cookies", false)]
#[case(AnyCall::Rotate, "POST /v1/session/rotate", false)]
#[case(AnyCall::Delete, "DELETE /v1/session", false)]
#[tokio::test]
async fn each_client_call_sends_its_http_method_path_and_credentials(
    #[case] call: AnyCall,
    #[case] line: &str,
    #[case] by_service_client: bool,
) {
    let server = ScriptedServer::start([call.success()]).await;
    call.make(&create_client(&server)).await.unwrap();
    let request = server.only_request();
    assert_eq!(request.line, line);
    let expected = if by_service_client {
        BASIC
    } else {
        &format_bearer()
    };
    assert_eq!(request.header("authorization"), Some(expected));
}

#[rstest]
#[case(AnyCall::Create)]
#[case(AnyCall::Introspect)]
#[case(AnyCall::Health)]
#[tokio::test]
async fn client_without_credentials_sends_no_authorization_header(#[case] call: AnyCall) {
    let server = ScriptedServer::start([call.success()]).await;
    call.make(&Client::new(server.url()).unwrap())
        .await
        .unwrap();
    assert_eq!(server.only_request().header("authorization"), None);
}

#[tokio::test]
async fn health_request_is_sent_without_credentials() {
    let server = ScriptedServer::start([Step::json(200, &build_health())]).await;
    let health = create_client(&server).health().await.unwrap();
    assert_eq!(health.status, HealthStatus::Degraded);
    assert!(!health.redis_connected);
    assert_eq!(health.store, "redis");
    let request = server.only_request();
    assert_eq!(request.line, "GET /health");
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn create_sends_cookies_in_order_and_returns_the_new_session() {
    let answer = Step::json_with(201, &[("ETag", r#""v1""#)], &build_new_session());
    let server = ScriptedServer::start([answer]).await;
    let cookies = Cookies::new([
        ("z".to_owned(), "grün; \"⛳\"".to_owned()),
        ("a".to_owned(), String::new()),
    ])
    .unwrap();
    let client = create_client(&server);
    let (base_url, label) = (parse_base_url(), "Jo's phone");
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
    assert_eq!(new.etag, Some(parse_etag()));
    let request = server.only_request();
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        request.body,
        r#"{"cookies":{"z":"grün; \"⛳\"","a":""},"base_url":"https://golf.example/members","subject":"member-42","label":"Jo's phone"}"#
    );
}

/// The test uses cookies as they occur in the cookie jars of HTTP clients.
#[tokio::test]
async fn create_sends_cookies_without_a_value_as_null_and_returns_the_ignored_cookies() {
    let mut new = build_new_session();
    new["ignored"] = json!([{"pointer": "/cookies/my [flag]", "reason": "full"}]);
    let server = ScriptedServer::start([Step::json(201, &new)]).await;
    let cookies = [("my [flag]", None), ("a", Some("1\t".to_owned()))];
    let cookies = cookies.map(|(name, value)| (name.to_owned(), value));
    let cookies = Cookies::new(cookies).unwrap();
    let (client, base_url) = (create_client(&server), parse_base_url());
    let new = client.create(&cookies, &base_url).send().await.unwrap();
    let ignored = &new.ignored[0];
    assert_eq!(
        (ignored.pointer.as_str(), ignored.reason.as_str()),
        ("/cookies/my [flag]", "full")
    );
    let body = server.only_request().body;
    assert!(
        body.starts_with(r#"{"cookies":{"my [flag]":null,"a":"1\t"}"#),
        "{body}"
    );
}

#[tokio::test]
async fn create_request_omits_unset_subject_and_label() {
    let server = ScriptedServer::start([AnyCall::Create.success()]).await;
    AnyCall::Create.make(&create_client(&server)).await.unwrap();
    let body = parse_body(&server.only_request());
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["base_url", "cookies"]);
}

#[tokio::test]
async fn get_returns_an_old_session_even_if_it_violates_the_rules_for_new_sessions() {
    let mut body = build_session();
    // Older stored sessions may violate the rules for new sessions.
    body["cookies"] = json!("COOKIES");
    body["base_url"] = json!("gopher://old.example");
    body["of_tomorrow"] = json!([1, 2]);
    let cookies = r#"{"a=b": "x", "b": "grün; ⛳", "flag": null}"#;
    let body = body.to_string().replace("\"COOKIES\"", cookies);
    let answer = Step::answer(200, &[("ETag", r#""v1""#)], &body);
    let server = ScriptedServer::start([answer]).await;
    let session = create_client(&server)
        .session(&parse_token())
        .get()
        .await
        .unwrap();
    let stored: Vec<_> = session.cookies.iter().collect();
    let expected = [("a=b", Some("x")), ("b", Some("grün; ⛳")), ("flag", None)];
    assert_eq!(stored, expected);
    assert_eq!(session.base_url.as_str(), "gopher://old.example");
    assert_eq!(session.session_id, parse_session_id());
    assert_eq!(
        session.created_at.unix_timestamp_nanos() % 1_000_000_000,
        123_456_000
    );
    assert_eq!(session.etag, Some(parse_etag()));
}

#[tokio::test]
async fn find_session_returns_creation_time_last_use_and_label_if_the_response_contains_them() {
    let without = json!({"session_id": SESSION_ID, "expires_at": EXPIRES_AT});
    let answers = [build_found_session(), without].map(|body| Step::json(200, &body));
    let server = ScriptedServer::start(answers).await;
    let client = create_client(&server);
    let id = parse_session_id();
    let found = client.find_session(&id, Some("member-42")).await.unwrap();
    assert_eq!(found.session_id, id);
    assert_eq!(found.expires_at.unix_timestamp(), 1_768_474_800);
    assert_eq!(found.created_at, found.last_seen);
    assert_eq!(found.created_at.unwrap().microsecond(), 123_456);
    assert_eq!(found.attributes.label.as_deref(), Some("telephone"));
    assert_eq!(found.attributes.subject.as_deref(), Some("member-42"));
    let found = client.find_session(&id, None).await.unwrap();
    assert_eq!(
        (found.created_at, found.last_seen, found.attributes.label),
        (None, None, None)
    );
}

#[tokio::test]
async fn ttl_call_returns_the_remaining_seconds_and_the_expiry_time() {
    let server = ScriptedServer::start([AnyCall::Ttl.success()]).await;
    let left = create_client(&server)
        .session(&parse_token())
        .ttl()
        .await
        .unwrap();
    assert_eq!(left.ttl, Duration::from_secs(1_799));
    assert_eq!(left.expires_at.unix_timestamp(), 1_768_474_800);
}

#[rstest]
#[case::with_subject(Some("member-42"))]
#[case::without_subject(None)]
#[tokio::test]
async fn authorize_returns_the_subject_of_the_session(#[case] subject: Option<&str>) {
    let mut body = build_authorization();
    let members = body.as_object_mut().unwrap();
    match subject {
        Some(subject) => members.insert("subject".to_owned(), subject.into()),
        None => members.remove("subject"),
    };
    let answer = Step::json(200, &body);
    let server = ScriptedServer::start([answer]).await;
    let client = create_client(&server);
    let authorized = client.session(&parse_token()).authorize().await.unwrap();
    assert_eq!(authorized.sub, "member-42");
    assert_eq!(authorized.subject.as_deref(), subject);
    assert_eq!(authorized.session_id, parse_session_id());
    assert_eq!(authorized.base_url, parse_base_url());
}

#[tokio::test]
async fn update_sends_a_json_merge_patch() {
    let server = ScriptedServer::start([AnyCall::Update.success()]).await;
    let patch = SessionPatch::new()
        .set_cookie("b", "old")
        .remove_cookie("a")
        .set_cookie("b", "new")
        .base_url(&BaseUrl::new("https://other.example").unwrap());
    let client = create_client(&server);
    let session = client.session(&parse_token()).update(&patch).await.unwrap();
    assert_eq!(session.cookies, build_cookies());
    let request = server.only_request();
    let content_type = request.header("content-type");
    assert_eq!(content_type, Some("application/merge-patch+json"));
    assert_eq!(request.header("if-match"), None);
    let expected = r#"{"cookies":{"b":"new","a":null},"base_url":"https://other.example"}"#;
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn empty_patch_sends_an_empty_json_object() {
    let server = ScriptedServer::start([AnyCall::Update.success()]).await;
    let client = create_client(&server);
    let (token, patch) = (parse_token(), SessionPatch::new());
    client.session(&token).update(&patch).await.unwrap();
    assert_eq!(server.only_request().body, "{}");
}

#[tokio::test]
async fn update_with_an_etag_sends_the_if_match_header() {
    let server = ScriptedServer::start([AnyCall::UpdateIfMatch.success()]).await;
    AnyCall::UpdateIfMatch
        .make(&create_client(&server))
        .await
        .unwrap();
    assert_eq!(server.only_request().header("if-match"), Some(r#""v1""#));
}

#[tokio::test]
async fn merge_sends_lines_date_and_the_first_sent_value_of_a_name_and_returns_ignored_lines() {
    let mut merged = build_session();
    merged["ignored"] = json!([{"index": 1, "reason": "domain"}]);
    let server = ScriptedServer::start([Step::json(200, &merged)]).await;
    let (client, token, etag) = (create_client(&server), parse_token(), parse_etag());
    let lines = ["a=1; Path=/", "b=2; Domain=com"];
    let merge = client
        .session(&token)
        .merge_cookies("https://golf.example/book", lines);
    let merge = merge.date("Thu, 15 Jan 2026 10:30:00 GMT").sent([
        ("a", Some("0")),
        ("flag", None),
        ("a", Some("of the root")),
    ]);
    let merged = merge.if_match(&etag).send().await.unwrap();
    assert_eq!(merged.session.cookies, build_cookies());
    let ignored = &merged.ignored[0];
    assert_eq!((ignored.index, ignored.reason.as_str()), (1, "domain"));
    let request = server.only_request();
    assert_eq!(request.header("if-match"), Some(r#""v1""#));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        request.body,
        r#"{"url":"https://golf.example/book","set_cookie":["a=1; Path=/","b=2; Domain=com"],"date":"Thu, 15 Jan 2026 10:30:00 GMT","sent":{"a":"0","flag":null}}"#
    );
}

#[tokio::test]
async fn cookie_header_for_a_url_is_computed_from_the_attributes_of_the_cookies() {
    let answer = AnyCall::GetWithAttributes.success();
    let server = ScriptedServer::start([answer]).await;
    let client = create_client(&server);
    let session = client
        .session(&parse_token())
        .get_with_attributes()
        .await
        .unwrap();
    let header = |url: &str| {
        session
            .jar_for(url)
            .unwrap()
            .map(|header| header.to_string())
    };
    let members = header("https://golf.example/members/7").unwrap();
    assert_eq!(members, format!("SESSIONID={COOKIE_VALUE}"));
    assert_eq!(
        header("http://www.golf.example/admin").as_deref(),
        Some("SESSIONID=x")
    );
    assert_eq!(header("http://golf.example/members"), None);
    assert_eq!(session.jar_for("/members"), Err(CookieHeaderError::NotAUrl));
}

#[tokio::test]
async fn rotate_returns_a_new_token() {
    let server = ScriptedServer::start([AnyCall::Rotate.success()]).await;
    let new = create_client(&server)
        .session(&parse_token())
        .rotate()
        .await
        .unwrap();
    assert_eq!(new.access_token.expose_secret(), NEW_TOKEN);
    assert_eq!(server.only_request().body, "");
}

#[tokio::test]
async fn list_request_sends_limit_and_cursor_and_returns_one_page() {
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
    let client = create_client(&server);
    let first = client.list_sessions("jo+a&b@golf.example").limit(1);
    let first = first.send().await.unwrap();
    assert_eq!(first.sessions[0].session_id, parse_session_id());
    assert_eq!(
        first.sessions[0].attributes.label.as_deref(),
        Some("Jo's phone")
    );
    let next = first.next.unwrap();
    let second = client.list_sessions("jo+a&b@golf.example").after(&next);
    let second = second.send().await.unwrap();
    assert_eq!(second.sessions[0].attributes.label, None);
    let subject = second.sessions[0].attributes.subject.as_deref();
    assert_eq!(subject, Some("jo+a&b@golf.example"));
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
async fn end_sessions_returns_the_number_of_ended_sessions() {
    let server = ScriptedServer::start([AnyCall::EndAll.success()]).await;
    let ended = create_client(&server).end_sessions("member-42").await;
    assert_eq!(ended.unwrap(), 2);
}

#[tokio::test]
async fn introspect_sends_the_token_in_a_form_and_returns_the_subject_and_expiry_time() {
    let answer = json!({
        "active": true,
        "token_type": "Bearer",
        "sub": "member-42",
        "iat": 1_768_473_000,
        "exp": 1_768_474_800,
        "username": "of tomorrow",
    });
    let server = ScriptedServer::start([Step::json(200, &answer)]).await;
    let active = create_client(&server)
        .introspect(&parse_token())
        .await
        .unwrap();
    let active = active.expect("the token is active");
    assert_eq!(active.sub, "member-42");
    assert_eq!(active.issued_at.unix_timestamp(), 1_768_473_000);
    assert_eq!(active.expires_at.unix_timestamp(), 1_768_474_800);
    let request = server.only_request();
    let content_type = request.header("content-type");
    assert_eq!(content_type, Some("application/x-www-form-urlencoded"));
    assert_eq!(request.body, format!("token={TOKEN}"));
}

#[tokio::test]
async fn introspect_returns_none_for_an_inactive_token() {
    let server = ScriptedServer::start([AnyCall::Introspect.success()]).await;
    let inactive = create_client(&server)
        .introspect(&parse_token())
        .await
        .unwrap();
    assert_eq!(inactive, None);
}
