//! Who may create sessions.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_api_server::{Scope, ServiceClient, ServiceClients};

use crate::test_app::{Store, TestApp, assert_problem, valid_body};

/// `printf s3cret | sha256sum`
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

async fn app_with_a_client() -> TestApp {
    let ci = ServiceClient::new("ci", &[S3CRET], vec![Scope::Create]).unwrap();
    TestApp::builder()
        .service_clients(ServiceClients::new(vec![ci]))
        .spawn(Store::Memory)
        .await
}

#[tokio::test]
async fn a_client_with_its_secret_creates_sessions() {
    let app = app_with_a_client().await;
    let request = app
        .request(Method::POST, "/v1/sessions")
        .basic_auth("ci", Some("s3cret"));
    let response = request.json(&valid_body()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[rstest]
#[case::nothing(None)]
#[case::wrong_secret(Some(("ci", "wrong")))]
#[case::unknown_client(Some(("cd", "s3cret")))]
#[tokio::test]
async fn everybody_else_is_invalid_client(#[case] credentials: Option<(&str, &str)>) {
    let app = app_with_a_client().await;
    let mut request = app.request(Method::POST, "/v1/sessions");
    if let Some((id, secret)) = credentials {
        request = request.basic_auth(id, Some(secret));
    }
    let response = request.json(&valid_body()).send().await.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Basic realm="tee-session""#
    );
    assert_problem(response, 401, "invalid_client").await;
}

#[tokio::test]
async fn the_client_is_checked_before_the_body_is_read() {
    let app = app_with_a_client().await;
    let response = app
        .request(Method::POST, "/v1/sessions")
        .body("not json")
        .send()
        .await
        .unwrap();
    assert_problem(response, 401, "invalid_client").await;
}

#[rstest]
#[case::forwarded("forwarded", "for=1.2.3.4")]
#[case::forwarded_for("x-forwarded-for", "1.2.3.4")]
#[case::host("host", "golf.example")]
#[tokio::test]
async fn without_clients_a_proxied_request_is_forbidden(#[case] name: &str, #[case] value: &str) {
    let app = TestApp::spawn(Store::Memory).await;
    let request = app
        .request(Method::POST, "/v1/sessions")
        .header(name, value);
    let response = request.json(&valid_body()).send().await.unwrap();
    assert_problem(response, 403, "insufficient_scope").await;
}

#[tokio::test]
async fn with_clients_a_proxied_request_of_one_is_served() {
    let app = app_with_a_client().await;
    let request = app
        .request(Method::POST, "/v1/sessions")
        .basic_auth("ci", Some("s3cret"))
        .header("x-forwarded-for", "198.51.100.1")
        .header("host", "golf.example");
    let response = request.json(&valid_body()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn without_clients_the_holder_of_a_token_may_come_through_a_proxy() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.request(Method::GET, "/v1/session").bearer_auth(token);
    let request = request.header("x-forwarded-for", "198.51.100.1");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[test]
fn an_application_off_loopback_without_clients_is_not_built() {
    use tee_session_api_server::{ApiSettings, Application};
    use tee_session_memory_adapter::MemoryRepository;

    let address = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let settings = ApiSettings {
        address,
        ..ApiSettings::default()
    };
    let refused = Application::build(settings, MemoryRepository::default)
        .err()
        .unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}
