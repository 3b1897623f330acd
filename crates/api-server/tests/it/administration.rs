//! Tests of the access control for requests that list, find and end sessions (scope `admin`).

use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::Value;
use tee_session_api_server::{Scope, ServiceClient, ServiceClients};
use tee_session_domain::{SessionId, SessionToken};
use tee_session_test_support::RedisProcess;

use crate::{
    subjects::{SESSIONS, build_body_with_subject, get_token},
    test_app::{Store, TestApp, assert_problem},
};

/// SHA-256 hash of the client secret `s3cret` in hexadecimal (`printf s3cret | sha256sum`).
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Builds one request for each API operation that requires the scope `admin`.
fn build_admin_requests(app: &TestApp) -> [RequestBuilder; 4] {
    let id = SessionId::of(&SessionToken::generate());
    [
        app.request(Method::GET, "/v1/sessions?subject=a"),
        app.request(Method::DELETE, "/v1/sessions?subject=a"),
        app.request(Method::GET, &format!("{SESSIONS}/{id}")),
        app.request(Method::DELETE, &format!("{SESSIONS}/{id}")),
    ]
}

#[rstest]
#[case::empty_credentials("", "", 401, "invalid_client")]
#[case::wrong_secret("admin", "wrong", 401, "invalid_client")]
#[case::scope_create("create", "s3cret", 403, "insufficient_scope")]
#[case::scope_introspect("introspect", "s3cret", 403, "insufficient_scope")]
#[case::scope_revoke("revoke", "s3cret", 403, "insufficient_scope")]
#[tokio::test]
async fn only_clients_with_admin_scope_may_list_find_and_end_sessions(
    #[case] id: &str,
    #[case] secret: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let clients = Scope::ALL.map(|scope| {
        ServiceClient::new(scope.as_str(), &[S3CRET], vec![scope]).expect("a valid client")
    });
    let app = TestApp::builder()
        .service_clients(ServiceClients::new(clients.into()))
        .spawn(Store::Memory)
        .await;
    for call in build_admin_requests(&app) {
        let refused = call.basic_auth(id, Some(secret)).send().await.unwrap();
        let problem = assert_problem(refused, status, code).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(
            status == 403,
            detail.contains("the scope admin"),
            "{detail}"
        );
    }
    for (call, expected) in build_admin_requests(&app)
        .into_iter()
        .zip([200, 200, 404, 404])
    {
        let served = call.basic_auth("admin", Some("s3cret")).send().await;
        assert_eq!(served.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn proxied_admin_requests_return_403_if_no_service_clients_are_configured() {
    let app = TestApp::spawn(Store::Memory).await;
    for call in build_admin_requests(&app) {
        let proxied = call.header("x-forwarded-for", "198.51.100.1").send().await;
        assert_problem(proxied.unwrap(), 403, "insufficient_scope").await;
    }
}

#[tokio::test]
async fn admin_request_with_a_session_token_returns_401() {
    let client = ServiceClient::new("ci", &[S3CRET], vec![Scope::Create, Scope::Admin]).unwrap();
    let app = TestApp::builder()
        .service_clients(ServiceClients::new(vec![client]))
        .spawn(Store::Memory)
        .await;
    let request = app
        .request(Method::POST, SESSIONS)
        .json(&build_body_with_subject("a"));
    let created = request
        .basic_auth("ci", Some("s3cret"))
        .send()
        .await
        .unwrap();
    let created: Value = created.json().await.unwrap();
    for call in build_admin_requests(&app) {
        let refused = call.bearer_auth(get_token(&created)).send().await.unwrap();
        assert_problem(refused, 401, "invalid_client").await;
    }
}

#[tokio::test]
async fn admin_requests_return_503_if_the_store_is_unavailable() {
    let mut redis = RedisProcess::start().await;
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    redis.kill().await;
    for call in build_admin_requests(&app) {
        let response = call.send().await.unwrap();
        assert_eq!(response.headers()["retry-after"], "1");
        assert_problem(response, 503, "store_unavailable").await;
    }
    let response = app.post_session(&build_body_with_subject("a")).await;
    assert_problem(response, 503, "store_unavailable").await;
}
