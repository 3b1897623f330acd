//! Tests of the authentication of service clients that create sessions.

use std::{num::NonZeroU32, time::Duration};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_api_server::{InvalidTokenLimit, Scope, ServiceClient, ServiceClients};

use crate::test_app::{Store, TestApp, assert_problem, build_valid_body};

/// SHA-256 hash of the client secret `s3cret` in hexadecimal (`printf s3cret | sha256sum`).
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

async fn start_app_with_a_service_client() -> TestApp {
    let ci = ServiceClient::new("ci", &[S3CRET], vec![Scope::Create]).unwrap();
    TestApp::builder()
        .service_clients(ServiceClients::new(vec![ci]))
        .spawn(Store::Memory)
        .await
}

#[tokio::test]
async fn service_client_with_the_correct_secret_may_create_sessions() {
    let app = start_app_with_a_service_client().await;
    let request = app
        .request(Method::POST, "/v1/sessions")
        .basic_auth("ci", Some("s3cret"));
    let response = request.json(&build_valid_body()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[rstest]
#[case::no_credentials(None)]
#[case::wrong_secret(Some(("ci", "wrong")))]
#[case::unknown_client(Some(("cd", "s3cret")))]
#[tokio::test]
async fn missing_or_wrong_client_credentials_return_401_invalid_client(
    #[case] credentials: Option<(&str, &str)>,
) {
    let app = start_app_with_a_service_client().await;
    let mut request = app.request(Method::POST, "/v1/sessions");
    if let Some((id, secret)) = credentials {
        request = request.basic_auth(id, Some(secret));
    }
    let response = request.json(&build_valid_body()).send().await.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Basic realm="tee-session""#
    );
    assert_problem(response, 401, "invalid_client").await;
}

#[tokio::test]
async fn unauthenticated_create_request_returns_401_before_the_body_is_read() {
    let app = start_app_with_a_service_client().await;
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
#[case::via("via", "1.1 proxy")]
#[case::real_ip("x-real-ip", "1.2.3.4")]
#[case::host_not_loopback("host", "golf.example")]
#[tokio::test]
async fn proxied_create_requests_return_403_if_no_service_clients_are_configured(
    #[case] name: &str,
    #[case] value: &str,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let request = app
        .request(Method::POST, "/v1/sessions")
        .header(name, value);
    let response = request.json(&build_valid_body()).send().await.unwrap();
    assert_problem(response, 403, "insufficient_scope").await;
}

/// An HTTP/1.0 request counts as proxied, because nginx sends HTTP/1.0 to upstream servers by
/// default.
#[tokio::test]
async fn http_1_0_request_returns_403_if_no_service_clients_are_configured() {
    let app = TestApp::spawn(Store::Memory).await;
    for (version, status) in [("1.0", "403"), ("1.1", "200")] {
        let request = format!(
            "GET /v1/sessions?subject=a HTTP/{version}\r\nHost: localhost\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = app.send_raw(request.as_bytes(), Duration::from_secs(5));
        let answer = answer.await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
}

#[tokio::test]
async fn proxied_create_request_with_client_credentials_returns_201() {
    let app = start_app_with_a_service_client().await;
    let request = app
        .request(Method::POST, "/v1/sessions")
        .basic_auth("ci", Some("s3cret"))
        .header("x-forwarded-for", "198.51.100.1")
        .header("host", "golf.example");
    let response = request.json(&build_valid_body()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn proxied_request_with_a_session_token_returns_200_if_no_service_clients_are_configured() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let request = app.request(Method::GET, "/v1/session").bearer_auth(token);
    let request = request.header("x-forwarded-for", "198.51.100.1");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[test]
fn server_on_a_non_loopback_address_without_service_clients_does_not_start() {
    use tee_session_api_server::{ApiSettings, Application};
    use tee_session_memory_adapter::MemoryRepository;

    use crate::{hooked_repository::HookedRepository, test_app::TestRepository};

    let address = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let settings = ApiSettings {
        address,
        ..ApiSettings::default()
    };
    let repository = HookedRepository::without_hook(MemoryRepository::default());
    let build = move || TestRepository::left(repository.clone());
    let refused = Application::build(settings, build).err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

/// Simulates an attacker that guesses the secret of a service client. After too many wrong secrets,
/// the right secret is still accepted, so the attacker cannot lock out the service client.
#[tokio::test]
async fn too_many_wrong_client_secrets_return_429_but_the_right_secret_is_still_accepted() {
    let ci = ServiceClient::new("ci", &[S3CRET], vec![Scope::Create]).unwrap();
    let app = TestApp::builder()
        .service_clients(ServiceClients::new(vec![ci]))
        .with(|settings| {
            settings.invalid_token_limit = Some(InvalidTokenLimit {
                burst: NonZeroU32::new(2).unwrap(),
                interval: Duration::from_secs(3_600),
            });
        })
        .spawn(Store::Memory)
        .await;
    let create = async |secret: &str| {
        let request = app.request(Method::POST, "/v1/sessions");
        let request = request.basic_auth("ci", Some(secret));
        request.json(&build_valid_body()).send().await.unwrap()
    };
    for _ in 0..2 {
        assert_problem(create("wrong").await, 401, "invalid_client").await;
    }
    let refused = create("wrong").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_problem(refused, 429, "too_many_requests").await;
    assert_eq!(create("s3cret").await.status(), StatusCode::CREATED);
    // A request without credentials is not an attempt to guess a secret, so it is not counted.
    let response = app.post_session(&build_valid_body()).await;
    assert_problem(response, 401, "invalid_client").await;
}
