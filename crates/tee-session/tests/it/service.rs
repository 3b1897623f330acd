//! The binary as a child process.

use std::process::Stdio;

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

/// The same with a log for people.
pub(crate) async fn start_with_text_log(flags: &[&str]) -> Service {
    Service::start_with_text_log(binary(), flags).await
}
