//! Helpers that start the service binary as a child process.

use std::process::Stdio;

use serde_json::{Value, json};
use tee_session_test_support::IssuedCertificate;
pub(crate) use tee_session_test_support::ServiceProcess as Service;
use tokio::process::Command;

/// Value of the setting `service_clients` with one client that has all scopes.
pub(crate) const CLIENTS: &str = r#"[{
    "id": "resource-server",
    "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
    "scopes": ["create", "introspect", "revoke", "admin"]
}]"#;

/// Id of the client in [`CLIENTS`].
pub(crate) const CLIENT_ID: &str = "resource-server";

/// Secret of the client in [`CLIENTS`]. The hash in [`CLIENTS`] is the output of
/// `printf s3cret | sha256sum`.
pub(crate) const CLIENT_SECRET: &str = "s3cret";

/// Returns the writing end of a pipe whose reading end is closed.
pub(crate) fn closed_pipe() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

/// Asserts that `check-config` with the settings of `command` succeeds and prints no warning.
pub(crate) async fn assert_no_warning(command: &mut Command) {
    command.env_remove("TSA_ALLOW_ANONYMOUS_CLIENTS");
    let output = command.args(["check-config", "--json"]).output().await;
    let output = output.unwrap();
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problems}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["warnings"], json!([]));
}

/// Returns a command that runs the binary. The only environment variable of the command allows
/// callers without credentials.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tee-session"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    // Most tests with Redis need no service clients.
    command.env("TSA_ALLOW_ANONYMOUS_CLIENTS", "true");
    command
}

/// Starts the service with `flags` on a free port, and waits until the service listens. The timeout
/// of Redis commands is 5 s, because a busy machine may take longer than the default of 500 ms.
pub(crate) async fn start(flags: &[&str]) -> Service {
    let mut command = binary();
    command.env("TSA_REDIS_COMMAND_TIMEOUT_MS", "5000");
    Service::start(command, flags).await
}

/// Starts the service with HTTPS and the TLS certificate `certificate`.
pub(crate) async fn start_https(certificate: &IssuedCertificate) -> Service {
    let mut service = start(&[
        "--tls-certificate-file",
        certificate.certificate_file.to_str().unwrap(),
        "--tls-private-key-file",
        certificate.private_key_file.to_str().unwrap(),
    ])
    .await;
    service.speak_https(reqwest::Client::new());
    service
}

/// Starts the service with `flags` and the log format `text`.
pub(crate) async fn start_with_text_log(flags: &[&str]) -> Service {
    Service::start_with_text_log(binary(), flags).await
}
