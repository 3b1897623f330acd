//! Tests of token introspection and revocation with the OAuth 2.0 client libraries `authlib` and
//! `requests-oauthlib`.

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{python_packages, service};

async fn create_session_and_return_token(service: &service::Service) -> String {
    let login = json!({"cookies": {"SESSIONID": "a1b2c3"}, "base_url": "https://golf.example"});
    let request = service.request(Method::POST, "/v1/sessions").json(&login);
    let request = request.basic_auth(service::CLIENT_ID, Some(service::CLIENT_SECRET));
    let created: Value = request.send().await.unwrap().json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

/// Introspects `token`, revokes `token`, and introspects `token` again, with the Python OAuth
/// library `client`. Returns the status and the body of each response.
async fn run_oauth_client(
    client: &str,
    service: &service::Service,
    secret: &str,
    token: &str,
) -> Value {
    let mut python = python_packages::script("oauth_clients.py");
    python
        .args([client, service.base()])
        .args([service::CLIENT_ID, secret, token]);
    serde_json::from_str(&python_packages::output_of(&mut python).await).unwrap()
}

#[rstest]
#[tokio::test]
async fn oauth_introspection_reports_a_token_as_active_until_it_is_revoked(
    #[values("authlib", "requests-oauthlib")] client: &str,
) {
    let service = service::start(&["--service-clients", service::CLIENTS]).await;
    let token = create_session_and_return_token(&service).await;
    let responses = run_oauth_client(client, &service, service::CLIENT_SECRET, &token).await;
    let [introspected, revoked, again] = &responses.as_array().unwrap()[..] else {
        panic!("{responses}");
    };
    assert_eq!(introspected[0], 200);
    let body = &introspected[1];
    assert_eq!(body["active"], true);
    assert_eq!(body["token_type"], "Bearer");
    let lives = body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap();
    assert!((1_799..=1_801).contains(&lives), "{body}");
    assert_eq!(revoked, &json!([200, null]));
    assert_eq!(again, &json!([200, {"active": false}]));
    assert_eq!(
        service.status(Method::GET, "/v1/session", &token).await,
        401
    );
}

#[rstest]
#[tokio::test]
async fn introspection_and_revocation_with_a_wrong_client_secret_return_401_invalid_client(
    #[values("authlib", "requests-oauthlib")] client: &str,
) {
    let service = service::start(&["--service-clients", service::CLIENTS]).await;
    let token = create_session_and_return_token(&service).await;
    let responses = run_oauth_client(client, &service, "wrong", &token).await;
    for response in responses.as_array().unwrap() {
        assert_eq!(response[0], 401);
        assert_eq!(response[1]["error"], "invalid_client");
    }
    assert_eq!(
        service.status(Method::GET, "/v1/session", &token).await,
        200
    );
}
