//! Introspection and revocation, by OAuth 2.0 clients of other projects.

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{python_packages, service};

const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/python/oauth_clients.py"
);

/// `printf s3cret | sha256sum`
const CLIENTS: &str = r#"[{
    "id": "resource-server",
    "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
    "scopes": ["create", "introspect", "revoke"]
}]"#;

async fn log_in(service: &service::Service) -> String {
    let login = json!({"cookies": {"SESSIONID": "a1b2c3"}, "base_url": "https://golf.example"});
    let request = service.request(Method::POST, "/v1/sessions").json(&login);
    let request = request.basic_auth("resource-server", Some("s3cret"));
    let created: Value = request.send().await.unwrap().json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

/// Statuses and bodies that the client got.
async fn answers_to(client: &str, service: &service::Service, secret: &str, token: &str) -> Value {
    let output = Command::new(python_packages::program("python"))
        .args([PROGRAM, client, service.base()])
        .args(["resource-server", secret, token])
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[rstest]
#[tokio::test]
async fn a_token_is_active_until_it_is_revoked(
    #[values("authlib", "requests-oauthlib")] client: &str,
) {
    let service = service::start(&["--service-clients", CLIENTS]).await;
    let token = log_in(&service).await;
    let answers = answers_to(client, &service, "s3cret", &token).await;
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
    let service = service::start(&["--service-clients", CLIENTS]).await;
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
