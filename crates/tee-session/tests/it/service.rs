//! The binary as a child process.

use std::process::Stdio;

use tee_session_test_support::IssuedCertificate;
pub(crate) use tee_session_test_support::ServiceProcess as Service;
use tokio::process::Command;

/// A setting with one service client that may do everything.
pub(crate) const CLIENTS: &str = r#"[{
    "id": "resource-server",
    "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
    "scopes": ["create", "introspect", "revoke", "admin"]
}]"#;

/// Its id.
pub(crate) const CLIENT_ID: &str = "resource-server";

/// Its secret: `printf s3cret | sha256sum`
pub(crate) const CLIENT_SECRET: &str = "s3cret";

/// The binary, without any setting of this machine's environment.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tee-session"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Starts it on a free port, and waits until it listens.
pub(crate) async fn start(flags: &[&str]) -> Service {
    Service::start(binary(), flags).await
}

/// The same over HTTPS, with this certificate.
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

/// The same with a log for people.
pub(crate) async fn start_with_text_log(flags: &[&str]) -> Service {
    Service::start_with_text_log(binary(), flags).await
}
