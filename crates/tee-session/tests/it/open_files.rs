//! Tests that the service raises its limit of open files at start, and exits if the limit is too
//! low.

use std::process::Stdio;

use rstest::rstest;
use tee_session_test_support::ServiceProcess;
use tokio::process::Command;

use crate::service::binary;

/// Returns a command that runs the shell commands `limits`, such as `ulimit -n 20`, and then the
/// binary.
fn limited(limits: &str) -> Command {
    let mut command = Command::new("sh");
    let program = binary().as_std().get_program().to_owned();
    command
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(program);
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn soft_limit_of_open_files_is_raised_to_the_hard_limit_at_start() {
    let command = limited("ulimit -Sn 300; ulimit -Hn 2000");
    let service = ServiceProcess::start(command, &["--workers", "2"]).await;
    let event = &service.events("Limit of open files")[0];
    assert_eq!(
        (&event["before"], &event["now"]),
        (&300.into(), &2000.into())
    );
}

/// The limits of 1000 and 2000 open files are too low for the default `max_connections` of 10 000.
/// The gateway also needs open files for its connections to sites: 256 for the requests in flight,
/// and 256 for the idle connections of each worker.
#[rstest]
#[case::without_a_gateway("ulimit -n 1000", &[], 844)]
#[case::with_a_gateway(
    "ulimit -n 2000",
    // With http, this machine needs no certificate authorities.
    &["--upstream-gateway", "true", "--allowed-base-hosts", "golf.example", "--upstream-allow-http", "true"],
    1_844 - 3 * 256
)]
#[tokio::test]
async fn limit_of_connections_is_lowered_at_start_if_the_limit_of_open_files_is_too_low(
    #[case] limits: &str,
    #[case] flags: &[&str],
    #[case] possible: u64,
) {
    let command = limited(limits);
    let service = ServiceProcess::start(command, &[&["--workers", "2"], flags].concat()).await;
    let warning = "The limit of open files is too low for max_connections: a lower limit of \
                   connections applies";
    let event = &service.events(warning)[0];
    assert_eq!(
        (&event["max_connections"], &event["possible"]),
        (&10_000.into(), &possible.into())
    );
}

/// One client opens so many connections that the process reaches its limit of open files. Further
/// clients must still be served.
#[tokio::test]
async fn clients_are_served_while_another_client_opens_more_connections_than_files_are_allowed() {
    let command = limited("ulimit -n 256");
    let mut service = ServiceProcess::start(command, &["--workers", "2"]).await;
    // At its limit, the service closes idle connections, also while a client sends a request on
    // one. So this client uses a new connection for each request.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0);
    service.client = client.build().unwrap();
    let mut connections = Vec::new();
    for _ in 0..5 {
        for _ in 0..100 {
            connections.push(service.connect().await);
        }
        let live = reqwest::get(format!("{}/health/live", service.base())).await;
        assert_eq!(live.unwrap().status(), 200);
        service.log_in("a1b2c3").await;
    }
}

#[rstest]
#[case::very_low("ulimit -n 20", "2", "is 20, and 2 workers need at least 172")]
#[case::many_workers("ulimit -n 256", "64", "is 256, and 64 workers need at least 792")]
#[tokio::test]
async fn service_exits_with_1_and_names_the_required_limit_if_the_limit_of_open_files_is_too_low(
    #[case] limits: &str,
    #[case] workers: &str,
    #[case] expected: &str,
) {
    let mut command = limited(limits);
    let output = command
        .args(["--api-port", "0", "--workers", workers])
        .output()
        .await;
    let output = output.unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(expected), "{message}");
    assert!(!message.contains("panicked"), "{message}");
}
