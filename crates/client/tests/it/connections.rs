//! Tests of the client's connections, redirects, proxies, URLs and size limits.

use std::{env, time::Duration};

use rstest::rstest;
use tee_session_client::{BuildError, Client, ClientError};
use tokio::process::Command;

use crate::{
    any_call::{AnyCall, build_health, create_client},
    scripted_server::{ScriptedServer, Step},
};

#[tokio::test]
async fn redirect_is_returned_as_an_error_and_not_followed() {
    let other_server = ScriptedServer::start([AnyCall::Get.success()]).await;
    let location = [("Location", &*format!("{}/v1/session", other_server.url()))];
    for status in [301, 302, 307, 308] {
        let server = ScriptedServer::start([Step::answer(status, &location, "")]).await;
        let error = AnyCall::Get
            .make(&create_client(&server))
            .await
            .unwrap_err();
        assert_eq!(error.problem().unwrap().status, status);
    }
    assert_eq!(other_server.connections(), 0);
}

#[tokio::test]
async fn clones_of_a_client_reuse_one_connection() {
    let server = ScriptedServer::start([AnyCall::Get.success()]).await;
    let client = create_client(&server);
    for _ in 0..5 {
        AnyCall::Get.make(&client.clone()).await.unwrap();
    }
    assert_eq!(server.received().len(), 5);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn client_call_succeeds_in_a_spawned_tokio_task() {
    let server = ScriptedServer::start([AnyCall::Get.success()]).await;
    let client = create_client(&server);
    let call = tokio::spawn(async move { AnyCall::Get.make(&client).await });
    call.await.unwrap().unwrap();
}

/// Checks that the client ignores the proxy environment variables, unless `proxy_from_environment`
/// was called.
///
/// All tests of one process share its environment variables. The test therefore runs itself again,
/// in a child process with other environment variables.
#[tokio::test]
async fn proxy_from_environment_variables_is_used_only_if_enabled() {
    const SERVICE: &str = "TEST_OF_A_PROXY_WITH_SERVICE";
    if let Ok(url) = env::var(SERVICE) {
        let by_default = Client::builder(&url).build().unwrap();
        AnyCall::Health.make(&by_default).await.unwrap();
        let enabled = Client::builder(&url).proxy_from_environment();
        let enabled = enabled.build().unwrap();
        AnyCall::Health.make(&enabled).await.unwrap();
        return;
    }
    let proxy = ScriptedServer::start([AnyCall::Health.success()]).await;
    let service = ScriptedServer::start([AnyCall::Health.success()]).await;
    let name = "connections::proxy_from_environment_variables_is_used_only_if_enabled";
    let mut this_test = Command::new(env::current_exe().unwrap());
    this_test.args(["--exact", name]).env_clear();
    this_test
        .env("HTTP_PROXY", proxy.url())
        .env(SERVICE, service.url());
    let output = this_test.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(service.only_request().line, "GET /health");
    let line = format!("GET {}/health", service.url());
    assert_eq!(proxy.only_request().line, line);
}

#[rstest]
#[case::by_default(None, concat!("tee-session-client/", env!("CARGO_PKG_VERSION")))]
#[case::custom(Some("shop/7"), "shop/7")]
#[tokio::test]
async fn request_contains_the_default_or_custom_user_agent(
    #[case] custom: Option<&str>,
    #[case] expected: &str,
) {
    let server = ScriptedServer::start([AnyCall::Health.success()]).await;
    let mut builder = Client::builder(server.url());
    if let Some(custom) = custom {
        builder = builder.user_agent(custom);
    }
    AnyCall::Health
        .make(&builder.build().unwrap())
        .await
        .unwrap();
    let request = server.only_request();
    assert_eq!(request.header("user-agent"), Some(expected));
}

#[rstest]
#[case::none("", "GET /v1/session")]
#[case::slash("/", "GET /v1/session")]
#[case::path("/tee", "GET /tee/v1/session")]
#[case::path_and_slash("/internal/tee/", "GET /internal/tee/v1/session")]
#[tokio::test]
async fn path_of_the_service_url_is_prepended_to_the_request_path(
    #[case] path: &str,
    #[case] line: &str,
) {
    let server = ScriptedServer::start([AnyCall::Get.success()]).await;
    let client = Client::new(format!("{}{path}", server.url())).unwrap();
    AnyCall::Get.make(&client).await.unwrap();
    assert_eq!(server.only_request().line, line);
}

#[rstest]
#[case::with_content_length(|body: String| Step::answer(200, &[], &body))]
#[case::until_connection_close(
    |body: String| Step::CutOff(format!("HTTP/1.1 200 OK\r\n\r\n{body}"))
)]
#[tokio::test]
async fn response_body_longer_than_1_mib_returns_a_decode_error(
    #[case] answer: fn(String) -> Step,
) {
    let health = build_health().to_string();
    let padded = |len| " ".repeat(len - health.len()) + &health;
    let longest = ScriptedServer::start([answer(padded(1024 * 1024))]).await;
    AnyCall::Health
        .make(&create_client(&longest))
        .await
        .unwrap();
    let longer = ScriptedServer::start([answer(padded(1024 * 1024 + 1))]).await;
    let error = AnyCall::Health
        .make(&create_client(&longer))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Decode(_)), "{error:?}");
    assert_eq!(longer.received().len(), 1);
}

#[tokio::test]
async fn call_returns_a_timeout_error_if_the_server_sends_no_response() {
    let server = ScriptedServer::start([Step::Hang]).await;
    let builder = Client::builder(server.url()).timeout(Duration::from_secs(1));
    let client = builder.attempts(1).build().unwrap();
    let error = AnyCall::Create.make(&client).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert!(error.outcome_is_unknown());
}

#[rstest]
#[case::empty("")]
#[case::no_scheme("127.0.0.1:8000")]
#[case::another_scheme("ftp://127.0.0.1")]
#[case::credentials("http://shop:s3cret@127.0.0.1:8000")]
#[case::query("http://127.0.0.1:8000/?token=s3cret")]
#[case::fragment("http://127.0.0.1:8000/#s3cret")]
#[case::blank("http://127.0.0.1:8000/ s3cret")]
fn invalid_service_url_returns_a_build_error_that_does_not_quote_the_url(#[case] url: &str) {
    let error = Client::new(url).unwrap_err();
    assert!(
        matches!(error, BuildError::Url(_) | BuildError::Query),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[rstest]
#[case::no_pem("hello")]
#[case::invalid_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
fn building_a_client_with_invalid_certificate_authorities_returns_an_error(#[case] pem: &str) {
    let builder = Client::builder("https://127.0.0.1").certificate_authorities(pem);
    let error = builder.build().unwrap_err();
    assert!(
        matches!(
            error,
            BuildError::Certificates { .. } | BuildError::Http { .. }
        ),
        "{error:?}"
    );
}
