//! Tests of token introspection (RFC 7662) and token revocation (RFC 7009) by service clients.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_api_server::{Scope, ServiceClient, ServiceClients};
use tee_session_domain::{SessionId, SessionToken, contract::repeat_if_late};
use tee_session_test_support::RedisProcess;
use tokio::time::sleep;

use crate::test_app::{Builder, Store, TestApp, assert_problem, build_valid_body, parse_time};

const INTROSPECT: &str = "/v1/introspect";
const REVOKE: &str = "/v1/revoke";

/// SHA-256 hash of the client secret `s3cret` in hexadecimal (`printf s3cret | sha256sum`).
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Creates a builder for an application with one service client per scope. The id of each service
/// client is the name of its scope.
fn create_builder() -> Builder {
    let clients = Scope::ALL.map(|scope| {
        ServiceClient::new(scope.as_str(), &[S3CRET], vec![scope]).expect("a valid client")
    });
    TestApp::builder().service_clients(ServiceClients::new(clients.into()))
}

async fn log_in(app: &TestApp) -> String {
    let request = app.request(Method::POST, "/v1/sessions");
    let request = request.basic_auth("create", Some("s3cret"));
    let created = request.json(&build_valid_body()).send().await.unwrap();
    let created: Value = created.json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

fn build_request(app: &TestApp, path: &str) -> RequestBuilder {
    let id = path.trim_start_matches("/v1/");
    app.request(Method::POST, path)
        .basic_auth(id, Some("s3cret"))
}

async fn post_form(app: &TestApp, path: &str, form: &[(&str, &str)]) -> Response {
    send_form(build_request(app, path), form).await
}

async fn send_form(request: RequestBuilder, form: &[(&str, &str)]) -> Response {
    let body: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(body).send().await.unwrap()
}

async fn introspect(app: &TestApp, token: &str) -> Value {
    let response = post_form(app, INTROSPECT, &[("token", token)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

async fn revoke(app: &TestApp, token: &str) -> Response {
    post_form(app, REVOKE, &[("token", token)]).await
}

/// Asserts that a response contains problem details with the status `status` and the code `code`.
/// The member `error` of the problem details, which OAuth 2.0 clients read, must be equal to the
/// parameter `error`.
async fn assert_oauth_problem(response: Response, status: u16, code: &str, error: &str) {
    let problem = assert_problem(response, status, code).await;
    assert_eq!(problem["error"], error, "{problem}");
}

#[tokio::test]
async fn introspecting_a_valid_token_returns_exp_iat_and_session_id_without_secrets() {
    let app = create_builder().spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let session: Value = app.get_session(&token).await.json().await.unwrap();
    let body = introspect(&app, &token).await;
    let seconds = |time: &Value| parse_time(time).unix_timestamp();
    let exp = body["exp"].as_i64().unwrap();
    assert!((exp - seconds(&session["expires_at"])).abs() <= 1, "{body}");
    assert_eq!(
        body,
        json!({
            "active": true,
            "token_type": "Bearer",
            "exp": exp,
            "iat": seconds(&session["created_at"]),
            "sub": session["session_id"],
        })
    );
}

#[tokio::test]
async fn introspecting_an_invalid_token_returns_only_active_false() {
    let app = create_builder().spawn(Store::Memory).await;
    let logged_out = log_in(&app).await;
    app.log_out(&logged_out).await;
    let unknown = SessionToken::generate();
    for token in [
        logged_out.as_str(),
        unknown.expose_secret(),
        "x",
        "\u{ff}",
        " ",
    ] {
        assert_eq!(introspect(&app, token).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn token_of_a_corrupt_session_record_is_reported_inactive_and_revoking_it_returns_200() {
    use fred::interfaces::KeysInterface;

    let redis = RedisProcess::start().await;
    let app = create_builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = log_in(&app).await;
    let key = format!("session:{}", SessionId::of(&token.parse().unwrap()));
    let client = redis.client().await;
    let garbage = client.set::<(), _, _>(key, "garbage", None, None, false);
    garbage.await.unwrap();
    assert_eq!(introspect(&app, &token).await, json!({"active": false}));
    assert_eq!(revoke(&app, &token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn introspection_does_not_renew_the_idle_timeout() {
    repeat_if_late(Duration::from_millis(800), async |pace| {
        let app = create_builder()
            .policy(pace.seconds(2), None)
            .spawn(Store::Memory)
            .await;
        let token = log_in(&app).await;
        pace.wait(Duration::from_millis(1_200), sleep).await;
        assert_eq!(introspect(&app, &token).await["active"], true);
        pace.wait(Duration::from_millis(1_200), sleep).await;
        assert_eq!(introspect(&app, &token).await["active"], false);
    })
    .await;
}

#[tokio::test]
async fn revoked_token_is_rejected_and_revoking_it_again_returns_200() {
    let app = create_builder().spawn(Store::Memory).await;
    let (token, other) = (log_in(&app).await, log_in(&app).await);
    for _ in 0..2 {
        let response = revoke(&app, &token).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.text().await.unwrap(), "");
    }
    assert_problem(app.get_session(&token).await, 401, "invalid_token").await;
    assert_eq!(app.get_session(&other).await.status(), StatusCode::OK);
    for unknown in [SessionToken::generate().expose_secret(), "x"] {
        assert_eq!(revoke(&app, unknown).await.status(), StatusCode::OK);
    }
}

#[rstest]
#[tokio::test]
async fn introspect_and_revoke_ignore_token_type_hint_and_unknown_parameters(
    #[values(INTROSPECT, REVOKE)] path: &str,
    #[values("access_token", "refresh_token", "x", "")] hint: &str,
) {
    let app = create_builder().spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let form = [
        ("a", "1"),
        ("token_type_hint", hint),
        ("token", &token),
        ("b", "2"),
    ];
    let response = post_form(&app, path, &form).await;
    assert_eq!(response.status(), StatusCode::OK);
    if path == INTROSPECT {
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["active"], true);
    } else {
        assert_eq!(app.get_session(&token).await.status(), 401);
    }
}

#[rstest]
#[case::no_token(&[])]
#[case::empty_token(&[("token", "")])]
#[case::repeated_token(&[("token", "x"), ("token", "y")])]
#[case::repeated_unknown_parameter(&[("token", "x"), ("client_id", "a"), ("client_id", "b")])]
#[case::repeated_hint(&[("token", "x"), ("token_type_hint", "a"), ("token_type_hint", "a")])]
#[tokio::test]
async fn introspect_or_revoke_form_without_exactly_one_token_returns_400(
    #[values(INTROSPECT, REVOKE)] path: &str,
    #[case] form: &[(&str, &str)],
) {
    let app = create_builder().spawn(Store::Memory).await;
    let response = post_form(&app, path, form).await;
    assert_oauth_problem(response, 400, "invalid_request", "invalid_request").await;
}

#[rstest]
#[case::json("application/json", 415, "unsupported_media_type")]
#[case::multipart("multipart/form-data; boundary=x", 415, "unsupported_media_type")]
#[case::other_charset(
    "application/x-www-form-urlencoded; charset=utf-16",
    415,
    "unsupported_media_type"
)]
#[case::too_large_form(
    "application/x-www-form-urlencoded; charset=UTF-8",
    413,
    "payload_too_large"
)]
#[tokio::test]
async fn unsupported_content_type_returns_415_and_too_large_form_returns_413(
    #[values(INTROSPECT, REVOKE)] path: &str,
    #[case] content_type: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let app = create_builder().spawn(Store::Memory).await;
    let request = build_request(&app, path).header("content-type", content_type);
    let response = request.body("token=x&".repeat(10_000)).send().await;
    assert_oauth_problem(response.unwrap(), status, code, "invalid_request").await;
}

#[rstest]
#[case::no_credentials(None)]
#[case::wrong_secret(Some("wrong"))]
#[tokio::test]
async fn unauthenticated_client_gets_401_before_the_body_is_read(
    #[values(INTROSPECT, REVOKE)] path: &str,
    #[case] secret: Option<&str>,
) {
    let app = create_builder().spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let mut request = app.request(Method::POST, path);
    if secret.is_some() {
        request = request.basic_auth("introspect", secret);
    }
    let response = request.body(format!("token={token}")).send().await.unwrap();
    let challenge = response.headers()["www-authenticate"].clone();
    assert_eq!(challenge, r#"Basic realm="tee-session""#);
    assert_oauth_problem(response, 401, "invalid_client", "invalid_client").await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

#[rstest]
#[tokio::test]
async fn service_client_without_the_scope_introspect_or_revoke_gets_403(
    #[values(INTROSPECT, REVOKE)] path: &str,
    #[values("create", "introspect", "revoke", "admin")] id: &str,
) {
    let app = create_builder().spawn(Store::Memory).await;
    let token = log_in(&app).await;
    let request = app
        .request(Method::POST, path)
        .basic_auth(id, Some("s3cret"));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(format!("token={token}")).send().await.unwrap();
    if path.ends_with(id) {
        assert_eq!(response.status(), StatusCode::OK);
    } else {
        assert_oauth_problem(response, 403, "insufficient_scope", "unauthorized_client").await;
        assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
    }
}

#[rstest]
#[tokio::test]
async fn proxied_requests_return_403_and_direct_requests_200_if_no_service_clients_are_configured(
    #[values(INTROSPECT, REVOKE)] path: &str,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.request(Method::POST, path);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(format!("token={token}"));
    let proxied = request
        .try_clone()
        .unwrap()
        .header("x-forwarded-for", "1.2.3.4");
    let proxied = proxied.send().await.unwrap();
    assert_oauth_problem(proxied, 403, "insufficient_scope", "unauthorized_client").await;
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[rstest]
#[tokio::test]
async fn introspect_and_revoke_return_405_for_methods_other_than_post(
    #[values(INTROSPECT, REVOKE)] path: &str,
    #[values("GET", "PUT", "DELETE")] method: Method,
) {
    let app = create_builder().spawn(Store::Memory).await;
    let response = app.request(method, path).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    assert_oauth_problem(response, 405, "method_not_allowed", "invalid_request").await;
}

#[rstest]
#[tokio::test]
async fn introspect_and_revoke_return_503_if_the_store_is_unavailable(
    #[values(INTROSPECT, REVOKE)] path: &str,
) {
    let mut redis = RedisProcess::start().await;
    let app = create_builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = log_in(&app).await;
    redis.kill().await;
    let response = post_form(&app, path, &[("token", &token)]).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_oauth_problem(
        response,
        503,
        "store_unavailable",
        "temporarily_unavailable",
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn introspect_and_revoke_return_503_with_an_oauth_error_if_the_service_is_overloaded(
    #[values(INTROSPECT, REVOKE)] path: &str,
) {
    let app = create_builder()
        .with(|settings| settings.max_in_flight = 0)
        .start(Store::Memory)
        .await;
    let response = post_form(&app, path, &[("token", "x")]).await;
    assert_oauth_problem(response, 503, "overloaded", "temporarily_unavailable").await;
}

#[rstest]
#[case::token("<token>", false)]
#[case::token_without_hyphens("<folded>", false)]
#[case::token_within_the_id("r/<token>/1", false)]
#[case::uuid("0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", true)]
#[case::hexadecimal_digits("4bf92f3577b34da6a3ce929d0e0e4736", true)]
#[case::short("r-1", true)]
#[tokio::test]
async fn request_id_that_contains_the_token_in_the_form_is_replaced_by_a_new_id(
    #[values(INTROSPECT, REVOKE)] path: &str,
    #[values("", " ", "\r\n")] after_the_token: &str,
    #[case] id: &str,
    #[case] is_accepted: bool,
) {
    let app = create_builder().spawn(Store::Memory).await;
    let token = SessionToken::generate();
    let token = token.expose_secret();
    let folded = token.replace('-', "").to_uppercase();
    let id = id.replace("<token>", token).replace("<folded>", &folded);
    let request = build_request(&app, path).header("x-request-id", &id);
    let sent = format!("{token}{after_the_token}");
    let response = send_form(request, &[("v", "1"), ("token", &sent)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answered = response.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(answered == id, is_accepted, "{answered}");
}

#[rstest]
#[case::wrong_secret("wrong", "token", 401)]
#[case::malformed_form("s3cret", "Token", 400)]
#[tokio::test]
async fn request_id_is_replaced_if_the_request_fails_before_its_form_is_parsed(
    #[case] secret: &str,
    #[case] parameter: &str,
    #[case] status: u16,
) {
    let app = create_builder().spawn(Store::Memory).await;
    let token = SessionToken::generate();
    let request = app.request(Method::POST, INTROSPECT);
    let request = request.basic_auth("introspect", Some(secret));
    let request = request.header("x-request-id", token.expose_secret());
    let response = send_form(request, &[(parameter, token.expose_secret())]).await;
    assert_eq!(response.status(), status);
    let answered = response.headers()["x-request-id"].to_str().unwrap();
    assert_ne!(answered, token.expose_secret());
}
