//! Tests of subjects and labels, and of listing and ending the sessions of a subject.

use std::net::SocketAddr;

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::RedisProcess;

use crate::{
    metrics::scrape,
    test_app::{Store, TestApp, assert_problem, build_valid_body, parse_time},
};

pub(crate) const SESSIONS: &str = "/v1/sessions";

pub(crate) fn build_body_with_subject(subject: &str) -> Value {
    let mut login = build_valid_body();
    login["subject"] = subject.into();
    login
}

async fn create_session(app: &TestApp, login: &Value) -> Value {
    let response = app.post_session(login).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    response.json().await.unwrap()
}

pub(crate) fn get_token(created: &Value) -> &str {
    created["access_token"].as_str().unwrap()
}

async fn send_query(app: &TestApp, method: Method, query: &str) -> Response {
    let path = format!("{SESSIONS}?{query}");
    app.request(method, &path).send().await.unwrap()
}

pub(crate) async fn list_sessions(app: &TestApp, parameters: &str) -> Value {
    let response = send_query(app, Method::GET, parameters).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

async fn revoke(app: &TestApp, id: &str) -> Response {
    let path = format!("{SESSIONS}/{id}");
    app.request(Method::DELETE, &path).send().await.unwrap()
}

#[tokio::test]
async fn get_of_the_location_url_of_a_new_session_does_not_renew_the_idle_timeout() {
    let app = TestApp::builder()
        .policy(60, None)
        .spawn(Store::Memory)
        .await;
    let mut login = build_body_with_subject("member-4711");
    login["label"] = "telephone".into();
    let response = app.post_session(&login).await;
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let created: Value = response.json().await.unwrap();

    let response = app.get(&location).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let found: Value = response.json().await.unwrap();
    assert_eq!(found["session_id"], created["session_id"]);
    let ends = parse_time(&found["expires_at"]);
    assert!((ends - parse_time(&created["expires_at"])).abs() < time::Duration::SECOND);
    assert_eq!(found.as_object().unwrap().len(), 2, "{found}");

    let response = app.get(&format!("{location}?subject=member-4711")).await;
    let found: Value = response.json().await.unwrap();
    assert_eq!(found["session_id"], created["session_id"]);
    assert_eq!(found["label"], "telephone");
    assert!(parse_time(&found["created_at"]) <= parse_time(&found["last_seen"]));
    assert!(parse_time(&found["expires_at"]) <= ends + time::Duration::milliseconds(100));

    let head = app.request(Method::HEAD, &location).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    for of_another in ["subject=member-4712", "subject=nobody"] {
        let response = app.get(&format!("{location}?{of_another}")).await;
        assert_problem(response, 404, "not_found").await;
    }
    for malformed in ["subject=", "subject=a&subject=b", "limit=1"] {
        let response = app.get(&format!("{location}?{malformed}")).await;
        assert_problem(response, 400, "invalid_request").await;
    }
    app.log_out(get_token(&created)).await;
    assert_problem(app.get(&location).await, 404, "not_found").await;
}

#[tokio::test]
async fn session_without_a_subject_is_found_by_its_id() {
    let app = TestApp::spawn(Store::Redis).await;
    let created = create_session(&app, &build_valid_body()).await;
    let path = format!("{SESSIONS}/{}", created["session_id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.status(), StatusCode::OK);
    for unknown in ["AAAAAAAAAAAAAAAAAAAAAA", "x"] {
        let response = app.get(&format!("{SESSIONS}/{unknown}")).await;
        assert_problem(response, 404, "not_found").await;
    }
}

#[tokio::test]
async fn subject_is_returned_by_get_by_authorize_and_by_introspect_but_the_label_only_by_get() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut login = build_body_with_subject("auth0|4711@golf.example");
    login["label"] = "Jörgs Telefon".into();
    let created = create_session(&app, &login).await;
    let shown: Value = app
        .get_session(get_token(&created))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(shown["subject"], "auth0|4711@golf.example");
    assert_eq!(shown["label"], "Jörgs Telefon");

    let authorize = app.request(Method::GET, "/v1/authorize");
    let authorized = authorize
        .bearer_auth(get_token(&created))
        .send()
        .await
        .unwrap();
    let subject = authorized.headers()["x-session-subject"].clone();
    assert!(
        !authorized
            .headers()
            .contains_key("x-session-subject-encoded")
    );
    assert_eq!(subject, "auth0|4711@golf.example");
    let text = authorized.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["sub"], "auth0|4711@golf.example");
    assert_eq!(body["subject"], "auth0|4711@golf.example");
    assert_eq!(body["extra"]["session_id"], created["session_id"]);
    assert!(!text.contains("Telefon"), "{text}");

    let introspect = app.request(Method::POST, "/v1/introspect");
    let introspect = introspect.header("content-type", "application/x-www-form-urlencoded");
    let form = format!("token={}", get_token(&created));
    let text = introspect
        .body(form)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["sub"], "auth0|4711@golf.example");
    assert!(!text.contains("Telefon"), "{text}");

    let rotated: Value = app.rotate(get_token(&created)).await.json().await.unwrap();
    let shown: Value = app
        .get_session(get_token(&rotated))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(shown["subject"], "auth0|4711@golf.example");
    assert_eq!(shown["label"], "Jörgs Telefon");
}

/// The expected header values are the output of `urllib.parse.quote(subject, safe="")` in Python.
#[rstest]
#[case::unicode("Jörg Müller ⛳", "J%C3%B6rg%20M%C3%BCller%20%E2%9B%B3")]
#[case::space("a b", "a%20b")]
#[case::reserved("ü%&=+/-._~", "%C3%BC%25%26%3D%2B%2F-._~")]
#[tokio::test]
async fn authorize_returns_a_subject_that_is_not_visible_ascii_in_x_session_subject_encoded(
    #[case] subject: &str,
    #[case] encoded: &str,
) {
    let app = TestApp::spawn(Store::Redis).await;
    let created = create_session(&app, &build_body_with_subject(subject)).await;
    let authorize = app.request(Method::GET, "/v1/authorize");
    let authorize = authorize.bearer_auth(get_token(&created));
    let authorized = authorize.send().await.unwrap();
    assert_eq!(authorized.headers()["x-session-subject-encoded"], encoded);
    assert!(!authorized.headers().contains_key("x-session-subject"));
    let body: Value = authorized.json().await.unwrap();
    assert_eq!(
        (&body["sub"], &body["subject"]),
        (&json!(subject), &json!(subject))
    );
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("subject", subject)
        .finish();
    let listed = list_sessions(&app, &query).await;
    assert_eq!(listed["sessions"][0]["session_id"], created["session_id"]);
    let ended: Value = send_query(&app, Method::DELETE, &query)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(ended, json!({"revoked": 1}));
}

#[tokio::test]
async fn get_session_omits_subject_and_label_if_the_session_has_neither() {
    let app = TestApp::spawn(Store::Memory).await;
    let text = app
        .get_session(&app.log_in().await)
        .await
        .text()
        .await
        .unwrap();
    assert!(
        !text.contains("subject") && !text.contains("label"),
        "{text}"
    );
}

#[rstest]
#[case::number(json!(4711))]
#[case::list(json!(["s3cret"]))]
#[case::empty(json!(""))]
#[case::too_long(json!("s3cret".repeat(43)))]
#[case::line_feed(json!("s3cret\n"))]
#[case::reversed_display(json!("s3cret\u{202e}"))]
#[tokio::test]
async fn invalid_subject_or_label_returns_422_without_quoting_the_value(
    #[case] value: Value,
    #[values("subject", "label")] member: &str,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let mut login = build_valid_body();
    login[member] = value;
    let response = app.post_session(&login).await;
    let problem = assert_problem(response, 422, "invalid_session").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 1);
    assert_eq!(problem["errors"][0]["pointer"], format!("/{member}"));
}

#[tokio::test]
async fn create_request_with_several_invalid_members_returns_422_that_lists_all_of_them() {
    let app = TestApp::spawn(Store::Memory).await;
    let login = json!({"cookies": {"a": 1}, "base_url": 1, "subject": "jörg\u{202e}", "label": 1});
    let problem = assert_problem(app.post_session(&login).await, 422, "invalid_session").await;
    let errors = problem["errors"].as_array().unwrap().iter();
    let pointers: Vec<_> = errors
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/cookies/a", "/base_url", "/subject", "/label"]);
}

#[tokio::test]
async fn sessions_of_a_subject_are_listed_oldest_first_without_secrets() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut with_label = build_body_with_subject("member-4711");
    with_label["label"] = "telephone".into();
    let first = create_session(&app, &with_label).await;
    let second = create_session(&app, &build_body_with_subject("member-4711")).await;
    create_session(&app, &build_body_with_subject("member-4712")).await;
    app.log_in().await;

    let list = list_sessions(&app, "subject=member-4711").await;
    let shown: Value = app
        .get_session(get_token(&first))
        .await
        .json()
        .await
        .unwrap();
    let sessions = list["sessions"].as_array().unwrap();
    let ids: Vec<_> = sessions
        .iter()
        .map(|session| &session["session_id"])
        .collect();
    assert_eq!(ids, [&first["session_id"], &second["session_id"]]);
    let members: Vec<_> = sessions[0].as_object().unwrap().keys().collect();
    let mut expected = [
        "session_id",
        "created_at",
        "last_seen",
        "expires_at",
        "label",
    ];
    expected.sort_unstable();
    assert_eq!(members, expected);
    assert_eq!(sessions[0]["label"], "telephone");
    assert_eq!(sessions[0]["created_at"], shown["created_at"]);
    assert!(parse_time(&sessions[0]["last_seen"]) >= parse_time(&shown["created_at"]));
    assert!(parse_time(&sessions[0]["expires_at"]) <= parse_time(&shown["expires_at"]));
    assert!(sessions[1].get("label").is_none());
    assert!(list.get("next").is_none(), "{list}");
    for secret in [
        get_token(&first),
        get_token(&second),
        "a1b2c3",
        "golf.example",
        "member",
    ] {
        assert!(!list.to_string().contains(secret), "{list}");
    }

    app.log_out(get_token(&first)).await;
    let list = list_sessions(&app, "subject=member-4711").await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(
        list_sessions(&app, "subject=nobody").await,
        json!({"sessions": []})
    );
}

#[tokio::test]
async fn long_list_of_sessions_is_returned_in_pages_of_at_most_the_requested_length() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut expected = Vec::new();
    for _ in 0..55 {
        expected.push(
            create_session(&app, &build_body_with_subject("a+b%/|")).await["session_id"].clone(),
        );
    }
    let subject = "subject=a%2Bb%25%2F%7C";
    for limit in ["", "&limit=1", "&limit=20", "&limit=55", "&limit=100"] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = list_sessions(&app, &format!("{subject}{limit}{after}")).await;
            let sessions = page["sessions"].as_array().unwrap();
            let max = limit.trim_start_matches("&limit=").parse().unwrap_or(50);
            assert!(sessions.len() <= max, "{limit}");
            found.extend(sessions.iter().map(|session| session["session_id"].clone()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{limit}");
    }
}

#[tokio::test]
async fn ending_the_sessions_of_a_subject_invalidates_all_their_tokens() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(create_session(&app, &build_body_with_subject("member-4711")).await);
    }
    let rotated: Value = app.rotate(get_token(&ended[0])).await.json().await.unwrap();
    ended[0] = rotated;
    let other = create_session(&app, &build_body_with_subject("member-4712")).await;
    for revoked in [5, 0] {
        let response = send_query(&app, Method::DELETE, "subject=member-4711").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body, json!({"revoked": revoked}));
    }
    for session in &ended {
        assert_problem(
            app.get_session(get_token(session)).await,
            401,
            "invalid_token",
        )
        .await;
    }
    assert_eq!(
        app.get_session(get_token(&other)).await.status(),
        StatusCode::OK
    );
    let again = create_session(&app, &build_body_with_subject("member-4711")).await;
    assert_eq!(
        app.get_session(get_token(&again)).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn ending_a_session_by_id_invalidates_its_token_and_ending_it_again_returns_404() {
    let app = TestApp::spawn(Store::Memory).await;
    for login in [build_body_with_subject("member-4711"), build_valid_body()] {
        let (one, other) = (
            create_session(&app, &login).await,
            create_session(&app, &login).await,
        );
        let id = one["session_id"].as_str().unwrap();
        let response = revoke(&app, id).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.text().await.unwrap(), "");
        assert_problem(app.get_session(get_token(&one)).await, 401, "invalid_token").await;
        assert_eq!(
            app.get_session(get_token(&other)).await.status(),
            StatusCode::OK
        );
        assert_problem(revoke(&app, id).await, 404, "not_found").await;
    }
}

#[tokio::test]
async fn ending_a_session_with_a_malformed_id_returns_404() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for id in [
        "x",
        "%00",
        "%ff",
        "AAAAAAAAAAAAAAAAAAAAAB",
        "a/b",
        "",
        token.as_str(),
    ] {
        assert_problem(revoke(&app, id).await, 404, "not_found").await;
    }
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

#[rstest]
#[case::empty("")]
#[case::empty_subject("subject=")]
#[case::repeated_subject("subject=s3cret&subject=s3cret")]
#[case::unknown_parameter("subject=s3cret&s3cret=1")]
#[case::reversed_display("subject=s3cret%E2%80%AE")]
#[case::invalid_encoding("subject=s3cret%z")]
#[case::token("subject=a&access_token=s3cret")]
#[tokio::test]
async fn listing_or_ending_sessions_with_an_invalid_query_returns_400_without_quoting_the_query(
    #[case] text: &str,
    #[values(Method::GET, Method::DELETE)] method: Method,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let response = send_query(&app, method, text).await;
    let problem = assert_problem(response, 400, "invalid_request").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
}

#[rstest]
#[case::limit_zero(Method::GET, "limit=0")]
#[case::limit_too_large(Method::GET, "limit=101")]
#[case::limit_not_a_number(Method::GET, "limit=s3cret")]
#[case::repeated_limit(Method::GET, "limit=1&limit=1")]
#[case::malformed_cursor(Method::GET, "after=s3cret")]
#[case::limit_on_delete(Method::DELETE, "limit=1")]
#[tokio::test]
async fn invalid_pagination_parameters_return_400(#[case] method: Method, #[case] text: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let session = create_session(&app, &build_body_with_subject("a")).await;
    let response = send_query(&app, method, &format!("subject=a&{text}")).await;
    let problem = assert_problem(response, 400, "invalid_request").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
    assert_eq!(
        app.get_session(get_token(&session)).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn metrics_contain_no_session_id_and_no_subject() {
    use crate::metrics::{scrape, start_app_with_metrics};

    let app = start_app_with_metrics().await;
    let session = create_session(&app, &build_body_with_subject("member-4711")).await;
    let id = session["session_id"].as_str().unwrap();
    list_sessions(&app, "subject=member-4711").await;
    assert_eq!(revoke(&app, id).await.status(), StatusCode::NO_CONTENT);
    revoke(&app, "x/y").await;
    let scraped = scrape(&app).await;
    assert!(
        scraped.contains(r#"route="/v1/sessions/{session_id}""#),
        "{scraped}"
    );
    for secret in [id, "member-4711", "x/y"] {
        assert!(!scraped.contains(secret), "{scraped}");
    }
}

/// Simulates another program that has damaged the session index of one subject in Redis. The
/// existing session of the subject remains valid.
#[tokio::test]
async fn login_of_a_subject_whose_session_index_is_corrupt_returns_500_without_retry_after() {
    let redis = RedisProcess::start().await;
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let app = TestApp::builder()
        .with(|settings| settings.metrics_address = Some(free))
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let created = create_session(&app, &build_body_with_subject("member-4711")).await;
    let details = redis.command(&["KEYS", "subject:*:details"]).await;
    let details = details.into_array()[0].as_string().unwrap();
    redis.command(&["HSET", &details, "revoked", "abc"]).await;
    let response = app
        .post_session(&build_body_with_subject("member-4711"))
        .await;
    assert!(!response.headers().contains_key("retry-after"));
    let problem = assert_problem(response, 500, "internal_error").await;
    assert!(!problem.to_string().contains("subject:"), "{problem}");
    let shown = app.get_session(get_token(&created)).await;
    assert_eq!(shown.status(), StatusCode::OK);
    let scraped = scrape(&app).await;
    assert!(
        scraped.contains("\ntee_session_corrupt_indexes_total 1\n"),
        "{scraped}"
    );
}
