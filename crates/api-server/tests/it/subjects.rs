//! Whose sessions there are: said at login, listed and ended by service clients.

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Store, TestApp, assert_problem, time_of, valid_body};

pub(crate) const SESSIONS: &str = "/v1/sessions";

pub(crate) fn login(subject: &str) -> Value {
    let mut login = valid_body();
    login["subject"] = subject.into();
    login
}

async fn created(app: &TestApp, login: &Value) -> Value {
    let response = app.post_session(login).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    response.json().await.unwrap()
}

pub(crate) fn token(created: &Value) -> &str {
    created["access_token"].as_str().unwrap()
}

async fn query(app: &TestApp, method: Method, query: &str) -> Response {
    let path = format!("{SESSIONS}?{query}");
    app.request(method, &path).send().await.unwrap()
}

pub(crate) async fn listed(app: &TestApp, of: &str) -> Value {
    let response = query(app, Method::GET, of).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

async fn revoke(app: &TestApp, id: &str) -> Response {
    let path = format!("{SESSIONS}/{id}");
    app.request(Method::DELETE, &path).send().await.unwrap()
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn whose_it_is_and_what_it_is_called_is_told_to_who_may_know(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let mut login = login("auth0|4711@golf.example");
    login["label"] = "Jörgs Telefon".into();
    let created = created(&app, &login).await;
    let shown: Value = app.get_session(token(&created)).await.json().await.unwrap();
    assert_eq!(shown["subject"], "auth0|4711@golf.example");
    assert_eq!(shown["label"], "Jörgs Telefon");

    let authorize = app.request(Method::GET, "/v1/authorize");
    let authorized = authorize.bearer_auth(token(&created)).send().await.unwrap();
    let subject = authorized.headers()["x-session-subject"].clone();
    assert_eq!(subject, "auth0|4711@golf.example");
    let text = authorized.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["sub"], "auth0|4711@golf.example");
    assert_eq!(body["subject"], "auth0|4711@golf.example");
    assert_eq!(body["extra"]["session_id"], created["session_id"]);
    assert!(!text.contains("Telefon"), "{text}");

    let introspect = app.request(Method::POST, "/v1/introspect");
    let introspect = introspect.header("content-type", "application/x-www-form-urlencoded");
    let form = format!("token={}", token(&created));
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

    let rotated: Value = app.rotate(token(&created)).await.json().await.unwrap();
    let shown: Value = app.get_session(token(&rotated)).await.json().await.unwrap();
    assert_eq!(shown["subject"], "auth0|4711@golf.example");
    assert_eq!(shown["label"], "Jörgs Telefon");
}

#[tokio::test]
async fn of_nobody_nothing_is_told() {
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
#[case::null(json!(null))]
#[case::number(json!(4711))]
#[case::list(json!(["s3cret"]))]
#[case::empty(json!(""))]
#[case::too_long(json!("s3cret".repeat(43)))]
#[case::line_feed(json!("s3cret\n"))]
#[tokio::test]
async fn a_bad_subject_or_label_is_422_and_not_echoed(
    #[case] value: Value,
    #[values("subject", "label")] member: &str,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let mut login = valid_body();
    login[member] = value;
    let response = app.post_session(&login).await;
    let problem = assert_problem(response, 422, "invalid_session").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 1);
    assert_eq!(problem["errors"][0]["pointer"], format!("/{member}"));
}

#[tokio::test]
async fn a_subject_is_ascii_and_every_fault_is_told_at_once() {
    let app = TestApp::spawn(Store::Memory).await;
    let login = json!({"cookies": {"a": 1}, "base_url": 1, "subject": "jörg", "label": 1});
    let problem = assert_problem(app.post_session(&login).await, 422, "invalid_session").await;
    let errors = problem["errors"].as_array().unwrap().iter();
    let pointers: Vec<_> = errors
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/cookies/a", "/base_url", "/subject", "/label"]);
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn the_sessions_of_a_subject_are_listed_oldest_first_and_without_secrets(
    #[case] store: Store,
) {
    let app = TestApp::spawn(store).await;
    let mut with_label = login("member-4711");
    with_label["label"] = "telephone".into();
    let first = created(&app, &with_label).await;
    let second = created(&app, &login("member-4711")).await;
    created(&app, &login("member-4712")).await;
    app.log_in().await;

    let list = listed(&app, "subject=member-4711").await;
    let shown: Value = app.get_session(token(&first)).await.json().await.unwrap();
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
    assert!(time_of(&sessions[0]["last_seen"]) >= time_of(&shown["created_at"]));
    assert!(time_of(&sessions[0]["expires_at"]) <= time_of(&shown["expires_at"]));
    assert!(sessions[1].get("label").is_none());
    assert!(list.get("next").is_none(), "{list}");
    for secret in [
        token(&first),
        token(&second),
        "a1b2c3",
        "golf.example",
        "member",
    ] {
        assert!(!list.to_string().contains(secret), "{list}");
    }

    app.log_out(token(&first)).await;
    let list = listed(&app, "subject=member-4711").await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(
        listed(&app, "subject=nobody").await,
        json!({"sessions": []})
    );
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_long_list_comes_in_pages(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let mut expected = Vec::new();
    for _ in 0..55 {
        expected.push(created(&app, &login("a+b%/|")).await["session_id"].clone());
    }
    let subject = "subject=a%2Bb%25%2F%7C";
    for limit in ["", "&limit=1", "&limit=20", "&limit=55", "&limit=100"] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = listed(&app, &format!("{subject}{limit}{after}")).await;
            let sessions = page["sessions"].as_array().unwrap();
            let most = limit.trim_start_matches("&limit=").parse().unwrap_or(50);
            assert!(sessions.len() <= most, "{limit}");
            found.extend(sessions.iter().map(|session| session["session_id"].clone()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{limit}");
    }
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn all_sessions_of_a_subject_are_ended_together(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(created(&app, &login("member-4711")).await);
    }
    let rotated: Value = app.rotate(token(&ended[0])).await.json().await.unwrap();
    ended[0] = rotated;
    let other = created(&app, &login("member-4712")).await;
    for revoked in [5, 0] {
        let response = query(&app, Method::DELETE, "subject=member-4711").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body, json!({"revoked": revoked}));
    }
    for session in &ended {
        assert_problem(app.get_session(token(session)).await, 401, "invalid_token").await;
    }
    assert_eq!(
        app.get_session(token(&other)).await.status(),
        StatusCode::OK
    );
    let again = created(&app, &login("member-4711")).await;
    assert_eq!(
        app.get_session(token(&again)).await.status(),
        StatusCode::OK
    );
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn one_session_is_ended_by_its_id(#[case] store: Store) {
    let app = TestApp::spawn(store).await;
    for login in [login("member-4711"), valid_body()] {
        let (one, other) = (created(&app, &login).await, created(&app, &login).await);
        let id = one["session_id"].as_str().unwrap();
        let response = revoke(&app, id).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.text().await.unwrap(), "");
        assert_problem(app.get_session(token(&one)).await, 401, "invalid_token").await;
        assert_eq!(
            app.get_session(token(&other)).await.status(),
            StatusCode::OK
        );
        assert_problem(revoke(&app, id).await, 404, "not_found").await;
    }
}

#[tokio::test]
async fn a_malformed_id_is_404() {
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
#[case::nothing("")]
#[case::no_value("subject=")]
#[case::twice("subject=s3cret&subject=s3cret")]
#[case::unknown("subject=s3cret&s3cret=1")]
#[case::space("subject=s3cret%20")]
#[case::badly_encoded("subject=s3cret%z")]
#[case::token("subject=a&access_token=s3cret")]
#[tokio::test]
async fn a_query_that_is_not_understood_is_400_and_not_echoed(
    #[case] text: &str,
    #[values(Method::GET, Method::DELETE)] method: Method,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let response = query(&app, method, text).await;
    let problem = assert_problem(response, 400, "invalid_request").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
}

#[rstest]
#[case::nothing(Method::GET, "limit=0")]
#[case::too_many(Method::GET, "limit=101")]
#[case::no_number(Method::GET, "limit=s3cret")]
#[case::twice(Method::GET, "limit=1&limit=1")]
#[case::cursor(Method::GET, "after=s3cret")]
#[case::some_of_all(Method::DELETE, "limit=1")]
#[tokio::test]
async fn a_page_that_there_cannot_be_is_400(#[case] method: Method, #[case] text: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let session = created(&app, &login("a")).await;
    let response = query(&app, method, &format!("subject=a&{text}")).await;
    let problem = assert_problem(response, 400, "invalid_request").await;
    assert!(!problem.to_string().contains("s3cret"), "{problem}");
    assert_eq!(
        app.get_session(token(&session)).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn metrics_name_no_session_and_no_subject() {
    use crate::metrics::{app_with_metrics, scrape};

    let app = app_with_metrics().await;
    let session = created(&app, &login("member-4711")).await;
    let id = session["session_id"].as_str().unwrap();
    listed(&app, "subject=member-4711").await;
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
