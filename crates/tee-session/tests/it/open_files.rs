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

#[rstest]
#[case::very_low("ulimit -n 20", "2", "is 20, and 2 workers need at least 148")]
#[case::many_workers("ulimit -n 256", "64", "is 256, and 64 workers need at least 768")]
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
