//! Someone at a shell, with a service and a folder.

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

/// Someone at a shell, with a service and a folder.
pub(crate) struct Operator {
    pub(crate) service: Service,
    folder: TempDir,
}

impl Operator {
    pub(crate) async fn of_an_open_service() -> Self {
        Self::of(service::start(&[]).await)
    }

    pub(crate) async fn of_a_guarded_service() -> Self {
        let operator = Self::of(service::start(&["--service-clients", CLIENTS]).await);
        fs::write(operator.path("secret"), CLIENT_SECRET).unwrap();
        operator
    }

    pub(crate) fn of(service: Service) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { service, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `tee-session session ...` in the folder, with this on standard input.
    pub(crate) async fn run(&self, arguments: &str, input: &str) -> Output {
        let mut command = binary();
        command.env("TSA_URL", self.service.base());
        command.current_dir(self.folder.path());
        run_session(command, arguments, input).await
    }

    /// The same of what succeeds, with its standard output.
    pub(crate) async fn done(&self, arguments: &str, input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
        text(&output.stdout)
    }

    pub(crate) async fn json(&self, arguments: &str, input: &str) -> Value {
        let told = self.done(&format!("{arguments} --json"), input).await;
        serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"))
    }

    /// The same of what fails with this exit code, with its standard error.
    pub(crate) async fn failed(&self, code: i32, arguments: &str, input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        text(&output.stderr)
    }
}

/// Runs `session ...` of this binary, with this on standard input.
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
    // It may end without reading what it does not need.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    process.wait_with_output().await.unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) const CREATE: &str = "create --base-url https://golf.example";
