//! Introspection and revocation, by OAuth 2.0 clients of other projects.

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{python_packages, service};

async fn log_in(service: &service::Service) -> String {
    let login = json!({"cookies": {"SESSIONID": "a1b2c3"}, "base_url": "https://golf.example"});
    let request = service.request(Method::POST, "/v1/sessions").json(&login);
    let request = request.basic_auth(service::CLIENT_ID, Some(service::CLIENT_SECRET));
    let created: Value = request.send().await.unwrap().json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

/// Statuses and bodies that the client got.
async fn answers_to(client: &str, service: &service::Service, secret: &str, token: &str) -> Value {
    let mut python = python_packages::script("oauth_clients.py");
    python
        .args([client, service.base()])
        .args([service::CLIENT_ID, secret, token]);
    serde_json::from_str(&python_packages::output_of(&mut python).await).unwrap()
}

#[rstest]
#[tokio::test]
async fn a_token_is_active_until_it_is_revoked(
    #[values("authlib", "requests-oauthlib")] client: &str,
) {
    let service = service::start(&["--service-clients", service::CLIENTS]).await;
    let token = log_in(&service).await;
    let answers = answers_to(client, &service, service::CLIENT_SECRET, &token).await;
    let [introspected, revoked, again] = &answers.as_array().unwrap()[..] else {
        panic!("{answers}");
    };
    assert_eq!(introspected[0], 200);
    let told = &introspected[1];
    assert_eq!(told["active"], true);
    assert_eq!(told["token_type"], "Bearer");
    let lives = told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap();
    assert!((1_799..=1_801).contains(&lives), "{told}");
    assert_eq!(revoked, &json!([200, null]));
    assert_eq!(again, &json!([200, {"active": false}]));
    assert_eq!(
        service.status(Method::GET, "/v1/session", &token).await,
        401
    );
}

#[rstest]
#[tokio::test]
async fn a_wrong_secret_is_told_as_oauth_clients_expect(
    #[values("authlib", "requests-oauthlib")] client: &str,
) {
    let service = service::start(&["--service-clients", service::CLIENTS]).await;
    let token = log_in(&service).await;
    let answers = answers_to(client, &service, "wrong", &token).await;
    for answer in answers.as_array().unwrap() {
        assert_eq!(answer[0], 401);
        assert_eq!(answer[1]["error"], "invalid_client");
    }
    assert_eq!(
        service.status(Method::GET, "/v1/session", &token).await,
        200
    );
}
