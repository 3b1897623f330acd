//! Tests of the setting `hide_cookies`. With this setting, no response contains the value of a
//! cookie.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::TestSite;

use crate::{
    test_app::{Store, TestApp, assert_problem},
    upstream::gateway,
};

const SECRET: &str = "s3cret-value";

async fn app() -> TestApp {
    let builder = TestApp::builder().with(|settings| settings.hide_cookies = true);
    builder.spawn(Store::Memory).await
}

async fn log_in(app: &TestApp) -> String {
    let body = json!({
        "cookies": {"SESSIONID": SECRET, "none": null, "a \"b\"": SECRET},
        "base_url": "https://golf.example/members",
    });
    let response = app.post_session(&body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let text = response.text().await.unwrap();
    assert!(!text.contains(SECRET), "{text}");
    let created: Value = serde_json::from_str(&text).unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

/// Sends a request, and returns the JSON of the response. Asserts that the response contains the
/// names of cookies and none of their values.
async fn hidden(app: &TestApp, method: Method, path: &str, token: &str, body: Value) -> Value {
    let request = app.request(method, path).bearer_auth(token);
    let request = if body.is_null() {
        request
    } else {
        request.json(&body)
    };
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("etag"));
    let text = response.text().await.unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn responses_contain_cookie_names_instead_of_values_if_cookies_are_hidden() {
    let app = app().await;
    let token = log_in(&app).await;
    let session = hidden(&app, Method::GET, "/v1/session", &token, Value::Null).await;
    assert_eq!(
        session["cookie_names"],
        json!(["SESSIONID", "a \"b\"", "none"])
    );
    assert!(session.get("cookies").is_none());
    assert_eq!(session["base_url"], "https://golf.example/members");

    let patch = json!({"cookies": {"none": null, "new": "s3cret-too"}});
    let session = hidden(&app, Method::PATCH, "/v1/session", &token, patch).await;
    let names = json!(["SESSIONID", "a \"b\"", "new"]);
    assert_eq!(session["cookie_names"], names);

    let merge = json!({
        "url": "https://golf.example/login",
        "set_cookie": ["SESSIONID=s3cret-3; Path=/", "bad\u{7}=s3cret-4", "new=; Max-Age=0; Path=/"],
    });
    let merged = hidden(&app, Method::POST, "/v1/session/cookies", &token, merge).await;
    assert_eq!(merged["cookie_names"], json!(["SESSIONID", "a \"b\""]));
    assert_eq!(merged["ignored"][0]["index"], 1);

    let rotated = hidden(
        &app,
        Method::POST,
        "/v1/session/rotate",
        &token,
        Value::Null,
    )
    .await;
    let token = rotated["access_token"].as_str().unwrap();
    for path in ["/v1/authorize", "/v1/session/ttl"] {
        let response = app.request(Method::GET, path).bearer_auth(token);
        let response = response.send().await.unwrap();
        assert!(response.status().is_success());
        let fields = format!("{:?}", response.headers());
        let text = response.text().await.unwrap();
        assert!(
            !fields.contains("s3cret") && !text.contains("s3cret"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn no_list_introspection_problem_or_site_answer_contains_the_value_of_a_hidden_cookie() {
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: SESSIONID=s3cret-new; Path=/\r\n\
         Content-Length: 2\r\n\r\nok";
    let site = TestSite::answering(answer).await;
    let builder = TestApp::builder().with(|settings| {
        gateway(settings);
        settings.hide_cookies = true;
    });
    let app = builder.spawn(Store::Memory).await;
    let cookies = json!({"SESSIONID": SECRET});
    let login = json!({"cookies": cookies, "base_url": site.url(), "subject": "member"});
    let created: Value = app.post_session(&login).await.json().await.unwrap();
    let [token, id] = ["access_token", "session_id"].map(|name| created[name].as_str().unwrap());

    let with_token = |method, path: &str| app.request(method, path).bearer_auth(token);
    let introspect = app
        .request(Method::POST, "/v1/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"));
    let patch = |cookie: &str| app.patch(token, &json!({"cookies": {"new": cookie}}));
    let merge = json!({"url": "s3cret", "set_cookie": ["a=s3cret"]});
    let merge = with_token(Method::POST, "/v1/session/cookies").json(&merge);
    let by_id = format!("/v1/sessions/{id}?subject=member");
    for (request, status) in [
        (app.request(Method::GET, "/v1/sessions?subject=member"), 200),
        (app.request(Method::GET, &by_id), 200),
        (introspect, 200),
        (patch(SECRET).header("if-match", "\"another\""), 412),
        (patch("s3cret\n"), 422),
        (
            app.patch(token, &json!({"base_url": "https://s3cret.example"})),
            422,
        ),
        (merge, 422),
        (with_token(Method::GET, "/v1/upstream/teetimes"), 200),
        (with_token(Method::GET, "/v1/upstream/teetimes"), 200),
        (with_token(Method::GET, "/v1/session"), 200),
    ] {
        let response = request.send().await.unwrap();
        let url = response.url().path().to_owned();
        let found = response.status();
        let text = format!(
            "{:?} {}",
            response.headers().clone(),
            response.text().await.unwrap()
        );
        assert_eq!(found.as_u16(), status, "{url}: {text}");
        assert!(!text.contains("s3cret"), "{url}: {text}");
    }
    // The session still contains the values of the cookies, and the gateway sends them to the site.
    assert!(site.seen().last_head().contains("SESSIONID=s3cret-new"));
}

#[rstest]
#[case::requested("?attributes=true", 400)]
#[case::not_requested("?attributes=false", 200)]
#[tokio::test]
async fn get_session_with_attributes_true_returns_400_if_cookies_are_hidden(
    #[case] query: &str,
    #[case] status: u16,
) {
    let app = app().await;
    let token = log_in(&app).await;
    let request = app.request(Method::GET, &format!("/v1/session{query}"));
    let response = request.bearer_auth(&token).send().await.unwrap();
    if status == 200 {
        assert_eq!(response.status(), StatusCode::OK);
    } else {
        let problem = assert_problem(response, 400, "invalid_request").await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("hide_cookies"), "{detail}");
    }
}

#[rstest]
#[case::other_path("https://golf.example/other?x=1", true)]
#[case::default_port("https://golf.example:443", true)]
#[case::upper_case("https://GOLF.example", true)]
#[case::other_host("https://evil.example/members", false)]
#[case::subdomain("https://www.golf.example/members", false)]
#[case::http("http://golf.example/members", false)]
#[case::other_port("https://golf.example:8443/members", false)]
#[tokio::test]
async fn patch_of_the_base_url_to_another_origin_returns_422_if_cookies_are_hidden(
    #[case] url: &str,
    #[case] stays: bool,
) {
    let patch = json!({"base_url": url});
    for is_hidden in [true, false] {
        let builder = TestApp::builder().with(move |settings| settings.hide_cookies = is_hidden);
        let app = builder.spawn(Store::Memory).await;
        let token = log_in(&app).await;
        let request = app
            .request(Method::PATCH, "/v1/session")
            .bearer_auth(&token);
        let response = request.json(&patch).send().await.unwrap();
        if stays || !is_hidden {
            assert_eq!(response.status(), StatusCode::OK);
            continue;
        }
        let problem = assert_problem(response, 422, "invalid_session").await;
        assert_eq!(problem["errors"][0]["pointer"], "/base_url");
        let session: Value = app.get_session(&token).await.json().await.unwrap();
        assert_eq!(session["base_url"], "https://golf.example/members");
    }
}
