//! Helper that runs `tee-session session` commands in tests, as an operator would.

use std::{
    fs,
    path::PathBuf,
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::service::{self, CLIENT_SECRET, CLIENTS, Service, binary};

pub(crate) const COOKIES: &str = r#"{"SESSIONID": "s3cret-cookie", "lang": "en"}"#;

/// A simulated operator, who runs `tee-session session` commands. Contains a running service, and
/// the working directory of the commands.
pub(crate) struct Operator {
    pub(crate) service: Service,
    directory: TempDir,
}

impl Operator {
    pub(crate) async fn of_service_without_clients() -> Self {
        Self::of(service::start(&[]).await)
    }

    pub(crate) async fn of_service_with_clients() -> Self {
        let operator = Self::of(service::start(&["--service-clients", CLIENTS]).await);
        fs::write(operator.path("secret"), CLIENT_SECRET).unwrap();
        operator
    }

    pub(crate) fn of(service: Service) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { service, directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `tee-session session` with `arguments` in the working directory, with `input` on
    /// standard input.
    pub(crate) async fn run(&self, arguments: &str, input: &str) -> Output {
        let mut command = binary();
        command.env("TSA_URL", self.service.base());
        command.current_dir(self.directory.path());
        run_session(command, arguments, input).await
    }

    /// Runs `tee-session session` as [`Self::run`] does, and returns the text on standard output.
    /// Panics if the exit code is not 0.
    pub(crate) async fn run_successfully(&self, arguments: &str, input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
        to_text(&output.stdout)
    }

    pub(crate) async fn json(&self, arguments: &str, input: &str) -> Value {
        let output = self
            .run_successfully(&format!("{arguments} --json"), input)
            .await;
        serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}"))
    }

    /// Runs `tee-session session` as [`Self::run`] does, and returns the text on standard error.
    /// Panics if the exit code is not `code`, or if the command prints anything on standard output.
    pub(crate) async fn run_failing(&self, code: i32, arguments: &str, input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        to_text(&output.stderr)
    }
}

/// Runs the binary `command` as `tee-session session`, with `input` on standard input. The
/// arguments in `arguments` are separated by spaces.
pub(crate) async fn run_session(mut command: Command, arguments: &str, input: &str) -> Output {
    let mut process = command
        .arg("session")
        .args(arguments.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // Writing may fail, because the process may exit without reading its input.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    process.wait_with_output().await.unwrap()
}

pub(crate) fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) const CREATE: &str = "create --base-url https://golf.example";
