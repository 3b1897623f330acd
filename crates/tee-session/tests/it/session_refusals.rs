//! Tests of failing `tee-session session` commands: exit codes and error messages.

use std::time::Duration;

use rstest::rstest;
use tee_session_test_support::{RedisProcess, free_port};

use crate::{
    operator::{COOKIES, CREATE, Operator, run_session, to_text},
    service::{self, CLIENT_ID, CLIENT_SECRET, binary},
};

#[tokio::test]
async fn session_command_without_required_client_credentials_exits_with_1_and_prints_advice() {
    let operator = Operator::of_service_with_clients().await;
    let refused = operator.run_failing(1, CREATE, COOKIES).await;
    assert!(refused.contains("401 invalid_client"), "{refused}");
    assert!(refused.contains("tip: pass a service client"), "{refused}");
    let by_stdin = format!("list --subject m --client-id {CLIENT_ID} --client-secret-file -");
    operator
        .run_successfully(&by_stdin, &format!("{CLIENT_SECRET}\n"))
        .await;
    let both = format!("{CREATE} --client-id {CLIENT_ID} --client-secret-file -");
    let refused = operator.run_failing(2, &both, COOKIES).await;
    assert!(
        refused.contains("cannot be used for two inputs"),
        "{refused}"
    );
}

/// Checks that the error message for invalid input does not repeat the input, because the input may
/// be a secret.
#[rstest]
#[case::not_a_token("show", "s3cret-no-token", "is not a token")]
#[case::empty_token("show", "", "is not a token")]
#[case::token_as_argument("show s3cret-token", "", "does not belong on the command line")]
#[case::token_to_revoke("revoke s3cret-token", "", "does not belong on the command line")]
#[case::second_session_id(
    "revoke --session-id k88fXCPKK0gU1YooURbm9Q s3cret-token",
    "",
    "does not belong on the command line"
)]
#[case::second_subject(
    "revoke --yes --subject alice bob",
    "",
    "does not belong on the command line"
)]
#[case::cookies_as_argument(
    "create --base-url https://golf.example {\"a\":\"s3cret\"}",
    "",
    "does not belong on the command line"
)]
#[case::token_as_flag("ttl --token=s3cret-token", "", "unexpected argument '--token'")]
#[case::token_as_id("revoke --session-id s3cret-token", "", "a session id must be")]
#[case::secret_as_flag(
    "list --subject m --client-secret=s3cret",
    "",
    "unexpected argument '--client-secret'"
)]
#[case::password_in_base_url(
    "create --base-url https://u:s3cret@golf.example",
    "{}",
    "--base-url: "
)]
#[case::malformed_cookies(CREATE, r#"{"a": s3cret}"#, "the cookies must be a JSON object")]
#[case::missing_token_file("ttl --token-file /nonexistent", "", "the token cannot be read: ")]
#[case::unsupported_url_scheme(
    "ttl --url ftp://x",
    "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "the URL of the service"
)]
#[case::missing_ca_file(
    "ttl --ca-file /nonexistent",
    "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "/nonexistent cannot be read"
)]
#[case::missing_cookie_file(
    "cookies --import /nonexistent",
    "",
    "the cookie file cannot be read: "
)]
#[case::malformed_cookie_file(
    "cookies --import - --token-file /nonexistent",
    "# a comment\ngolf.example FALSE / FALSE 0 SESSIONID s3cret",
    "line 2: the line is neither a comment nor a cookie"
)]
#[case::cookie_file_and_token_from_stdin(
    "cookies --import -",
    "golf.example\tFALSE\t/\tFALSE\t0\tSESSIONID\ts3cret",
    "standard input cannot be used for two inputs"
)]
#[case::export_and_import("cookies --export a --import b", "", "cannot be used with")]
#[case::format_without_export("cookies --format netscape", "", "--export <FILE>")]
#[case::cookies_as_positional_argument(
    "cookies SESSIONID=s3cret",
    "",
    "does not belong on the command line"
)]
#[case::id_and_subject("revoke --session-id x --subject y", "", "cannot be used with")]
#[case::client_id_without_secret("list --subject m --client-id x", "", "--client-secret-file")]
#[case::missing_subject("list", "", "--subject")]
#[tokio::test]
async fn invalid_session_command_exits_with_2_and_an_error_that_does_not_quote_its_input(
    #[case] arguments: &str,
    #[case] input: &str,
    #[case] expected: &str,
) {
    // No service runs in this test, because the command fails before it sends a request.
    let output = run_session(binary(), arguments, input).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = to_text(&output.stderr);
    assert!(message.contains(expected), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn session_command_exits_with_1_and_prints_advice_if_the_service_is_unreachable() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let output = binary()
        .args(["session", "list", "--subject", "m", "--url", &url])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = to_text(&output.stderr);
    assert!(
        message.contains("no connection to the service: Connection refused"),
        "{message}"
    );
    assert!(
        message.contains("tip: check that the service runs"),
        "{message}"
    );
}

#[tokio::test]
async fn session_command_exits_with_1_and_advises_to_check_redis_during_a_redis_outage() {
    let mut redis = RedisProcess::start().await;
    let service = service::start(&["--redis-url", &redis.url()]).await;
    service.until_ready(Duration::from_secs(5)).await;
    let operator = Operator::of(service);
    let token = operator.run_successfully(CREATE, COOKIES).await;
    redis.kill().await;
    let message = operator.run_failing(1, "show", &token).await;
    assert!(message.contains("503 store_unavailable"), "{message}");
    assert!(
        message.contains("tee-session check-config --connect"),
        "{message}"
    );
}
