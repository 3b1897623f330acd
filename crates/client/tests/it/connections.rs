//! Where requests go, and how.

use std::{env, time::Duration};

use rstest::rstest;
use tee_session_client::{BuildError, Client, ClientError};
use tokio::process::Command;

use crate::{
    any_call::{AnyCall, client_of, health},
    scripted_server::{ScriptedServer, Step},
};

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let elsewhere = ScriptedServer::start([AnyCall::Get.success()]).await;
    let location = [("Location", &*format!("{}/v1/session", elsewhere.url()))];
    for status in [301, 302, 307, 308] {
        let server = ScriptedServer::start([Step::answer(status, &location, "")]).await;
        let error = AnyCall::Get.make(&client_of(&server)).await.unwrap_err();
        assert_eq!(error.problem().unwrap().status, status);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn clones_share_a_connection_from_call_to_call() {
    let server = ScriptedServer::start([AnyCall::Get.success()]).await;
    let client = client_of(&server);
    for _ in 0..5 {
        AnyCall::Get.make(&client.clone()).await.unwrap();
    }
    assert_eq!(server.received().len(), 5);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn calls_may_be_made_on_any_thread() {
    let server = ScriptedServer::start([AnyCall::Get.success()]).await;
    let client = client_of(&server);
    let call = tokio::spawn(async move { AnyCall::Get.make(&client).await });
    call.await.unwrap().unwrap();
}

/// The environment of this process is not its own: the test runs itself with another one.
#[tokio::test]
async fn the_proxy_of_the_environment_is_used_only_when_it_is_asked_for() {
    const SERVICE: &str = "TEST_OF_A_PROXY_WITH_SERVICE";
    if let Ok(url) = env::var(SERVICE) {
        let by_default = Client::builder(&url).build().unwrap();
        AnyCall::Health.make(&by_default).await.unwrap();
        let asked = Client::builder(&url).proxy_from_environment();
        AnyCall::Health.make(&asked.build().unwrap()).await.unwrap();
        return;
    }
    let proxy = ScriptedServer::start([AnyCall::Health.success()]).await;
    let service = ScriptedServer::start([AnyCall::Health.success()]).await;
    let name = "connections::the_proxy_of_the_environment_is_used_only_when_it_is_asked_for";
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
#[case::chosen(Some("shop/7"), "shop/7")]
#[tokio::test]
async fn it_says_who_it_is(#[case] chosen: Option<&str>, #[case] expected: &str) {
    let server = ScriptedServer::start([AnyCall::Health.success()]).await;
    let mut builder = Client::builder(server.url());
    if let Some(chosen) = chosen {
        builder = builder.user_agent(chosen);
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
async fn a_path_of_the_url_stands_before_those_of_calls(#[case] path: &str, #[case] line: &str) {
    let server = ScriptedServer::start([AnyCall::Get.success()]).await;
    let client = Client::new(format!("{}{path}", server.url())).unwrap();
    AnyCall::Get.make(&client).await.unwrap();
    assert_eq!(server.only_request().line, line);
}

#[rstest]
#[case::announced(|body: String| Step::answer(200, &[], &body))]
#[case::until_the_end(|body: String| Step::CutOff(format!("HTTP/1.1 200 OK\r\n\r\n{body}")))]
#[tokio::test]
async fn an_endless_answer_is_not_read(#[case] answer: fn(String) -> Step) {
    let health = health().to_string();
    let padded = |len| " ".repeat(len - health.len()) + &health;
    let longest = ScriptedServer::start([answer(padded(1024 * 1024))]).await;
    AnyCall::Health.make(&client_of(&longest)).await.unwrap();
    let longer = ScriptedServer::start([answer(padded(1024 * 1024 + 1))]).await;
    let error = AnyCall::Health.make(&client_of(&longer)).await.unwrap_err();
    assert!(matches!(error, ClientError::Decode(_)), "{error:?}");
    assert_eq!(longer.received().len(), 1);
}

#[tokio::test]
async fn who_is_not_answered_is_told_in_time() {
    let server = ScriptedServer::start([Step::Hang]).await;
    let builder = Client::builder(server.url()).timeout(Duration::from_secs(1));
    let client = builder.attempts(1).build().unwrap();
    let error = AnyCall::Create.make(&client).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert!(error.outcome_is_unknown());
}

#[rstest]
#[case::nothing("")]
#[case::no_scheme("127.0.0.1:8000")]
#[case::another_scheme("ftp://127.0.0.1")]
#[case::credentials("http://shop:s3cret@127.0.0.1:8000")]
#[case::query("http://127.0.0.1:8000/?token=s3cret")]
#[case::fragment("http://127.0.0.1:8000/#s3cret")]
#[case::blank("http://127.0.0.1:8000/ s3cret")]
fn a_url_that_is_no_service_is_refused_without_repeating_it(#[case] url: &str) {
    let error = Client::new(url).unwrap_err();
    assert!(
        matches!(error, BuildError::Url(_) | BuildError::Query),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[rstest]
#[case::no_pem("hello")]
#[case::no_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
fn authorities_that_are_none_are_refused(#[case] pem: &str) {
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
