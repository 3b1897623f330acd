//! `tee-session session` where it cannot do what it is told, and what it says then.

use std::time::Duration;

use rstest::rstest;
use tee_session_test_support::{RedisProcess, free_port};

use crate::{
    operator::{COOKIES, CREATE, Operator, run_session, text},
    service::{self, CLIENT_ID, CLIENT_SECRET, binary},
};

#[tokio::test]
async fn without_a_client_a_guarded_service_refuses_and_the_tip_says_how() {
    let operator = Operator::of_a_guarded_service().await;
    let refused = operator.failed(1, CREATE, COOKIES).await;
    assert!(refused.contains("401 invalid_client"), "{refused}");
    assert!(
        refused.contains("tip: name a client of the service"),
        "{refused}"
    );
    let by_stdin = format!("list --subject m --client-id {CLIENT_ID} --client-secret-file -");
    operator
        .done(&by_stdin, &format!("{CLIENT_SECRET}\n"))
        .await;
    let both = format!("{CREATE} --client-id {CLIENT_ID} --client-secret-file -");
    let refused = operator.failed(2, &both, COOKIES).await;
    assert!(refused.contains("cannot hold two things"), "{refused}");
}

/// What is given is wrong, and not repeated where it may be a secret.
#[rstest]
#[case::no_token("show", "s3cret-no-token", "is no token")]
#[case::nothing("show", "", "is no token")]
#[case::token_as_argument("show s3cret-token", "", "does not belong on the command line")]
#[case::token_to_revoke("revoke s3cret-token", "", "does not belong on the command line")]
#[case::second_id(
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
#[case::token_as_id("revoke --session-id s3cret-token", "", "a session id is")]
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
#[case::bad_cookies(CREATE, r#"{"a": s3cret}"#, "the cookies must be a JSON object")]
#[case::no_file("ttl --token-file /nonexistent", "", "the token cannot be read: ")]
#[case::no_url(
    "ttl --url ftp://x",
    "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "the URL of the service"
)]
#[case::no_authorities(
    "ttl --ca-file /nonexistent",
    "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "/nonexistent cannot be read"
)]
#[case::id_and_subject("revoke --session-id x --subject y", "", "cannot be used with")]
#[case::id_alone("list --subject m --client-id x", "", "--client-secret-file")]
#[case::no_subject("list", "", "--subject")]
#[tokio::test]
async fn a_wrong_command_line_or_input_ends_it_with_2(
    #[case] arguments: &str,
    #[case] input: &str,
    #[case] said: &str,
) {
    // Nobody is asked.
    let output = run_session(binary(), arguments, input).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.contains(said), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let output = binary()
        .args(["session", "list", "--subject", "m", "--url", &url])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("no connection to the service: Connection refused"),
        "{told}"
    );
    assert!(told.contains("tip: see that the service runs"), "{told}");
}

#[tokio::test]
async fn an_outage_of_the_store_leads_to_the_check_of_redis() {
    let mut redis = RedisProcess::start().await;
    let service = service::start(&["--redis-url", &redis.url()]).await;
    service.until_ready(Duration::from_secs(5)).await;
    let operator = Operator::of(service);
    let token = operator.done(CREATE, COOKIES).await;
    redis.kill().await;
    let told = operator.failed(1, "show", &token).await;
    assert!(told.contains("503 store_unavailable"), "{told}");
    assert!(
        told.contains("tee-session check-config --connect"),
        "{told}"
    );
}
