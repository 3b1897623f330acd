//! Tests of `tee-session session` on a pseudo-terminal. The program `script` (util-linux) provides
//! the pseudo-terminal.

use std::{process::Stdio, time::Duration};

use reqwest::Method;
use tee_session_test_support::eventually;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::service::{self, Service};

const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// A pseudo-terminal that runs one `tee-session session` command.
struct Terminal {
    process: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    shown: String,
    /// Working directory of the command. The file `tty` in this directory contains the device path
    /// of the terminal.
    directory: TempDir,
}

impl Terminal {
    fn run(service: &Service, arguments: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let binary = env!("CARGO_BIN_EXE_tee-session");
        let command = format!("tty > tty; exec {binary} session {arguments}");
        let mut process = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("TSA_URL", service.base())
            .env_remove("NO_COLOR")
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script is installed (util-linux)");
        Self {
            keyboard: process.stdin.take().unwrap(),
            screen: process.stdout.take().unwrap(),
            shown: String::new(),
            directory,
            process,
        }
    }

    /// Waits until `text` has been printed on the terminal.
    async fn wait_for_text(&mut self, text: &str) {
        let shown = async {
            let mut chunk = [0; 1_024];
            while !self.shown.contains(text) {
                let length = self.screen.read(&mut chunk).await.unwrap();
                assert!(length > 0, "{text} is missing in {}", self.shown);
                self.shown += &String::from_utf8_lossy(&chunk[..length]);
            }
        };
        timeout(SHOWN_WITHIN, shown).await.unwrap();
    }

    /// Waits until the command has turned off the echo of the terminal.
    async fn wait_until_echo_is_off(&self) {
        let tty = std::fs::read_to_string(self.directory.path().join("tty")).unwrap();
        eventually(SHOWN_WITHIN, async || {
            let state = Command::new("stty").args(["-a", "-F", tty.trim()]).output();
            let state = state.await.expect("stty is installed (coreutils)");
            String::from_utf8_lossy(&state.stdout).contains(" -echo ")
        })
        .await;
    }

    async fn type_in(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.keyboard.write_all(line.as_bytes()).await.unwrap();
    }

    /// Waits until the command exits. Returns the exit code, and all text that was printed on the
    /// terminal.
    async fn wait_for_exit(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        let end = async {
            self.screen.read_to_string(&mut rest).await.unwrap();
            self.process.wait().await.unwrap()
        };
        let status = timeout(SHOWN_WITHIN, end).await.unwrap();
        (status.code(), self.shown + &rest)
    }
}

async fn create_session_of_subject(service: &Service) {
    let body = serde_json::json!({
        "cookies": {"a": "1"}, "base_url": "https://golf.example", "subject": "member-4711",
    });
    let request = service.request(Method::POST, "/v1/sessions").json(&body);
    request.send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test]
async fn session_show_command_prompts_for_the_token_without_echoing_it() {
    let service = service::start(&[]).await;
    let token = service.log_in("s3cret-cookie").await;
    let mut terminal = Terminal::run(&service, "show");
    terminal.wait_for_text("Token: ").await;
    terminal.wait_until_echo_is_off().await;
    terminal.type_in(&token).await;
    let (code, shown) = terminal.wait_for_exit().await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("(hidden)"), "{shown}");
    assert!(shown.contains("\u{1b}["), "colours: {shown}");
    assert!(
        shown.contains(&format!("waiting for {}", service.base())),
        "{shown}"
    );
    for secret in [token.as_str(), "s3cret-cookie"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn session_revoke_command_asks_for_confirmation_before_ending_all_sessions_of_a_subject() {
    let service = service::start(&[]).await;
    create_session_of_subject(&service).await;
    for (answer, code, expected) in [
        ("", 2, "nothing was ended"),
        ("n", 2, "nothing was ended"),
        ("y", 0, "1 session ended"),
    ] {
        let mut terminal = Terminal::run(&service, "revoke --subject member-4711");
        terminal
            .wait_for_text("End all sessions of member-4711? [y/N] ")
            .await;
        terminal.type_in(answer).await;
        let (exit_code, shown) = terminal.wait_for_exit().await;
        assert_eq!(exit_code, Some(code), "{shown}");
        assert!(shown.contains(expected), "{shown}");
    }
}

#[tokio::test]
async fn environment_variable_no_color_disables_coloured_output() {
    let service = service::start(&[]).await;
    create_session_of_subject(&service).await;
    let command = "list --subject member-4711";
    let (_, coloured) = Terminal::run(&service, command).wait_for_exit().await;
    let styled = |shown: &str| shown.contains("\u{1b}[1m");
    assert!(styled(&coloured), "{coloured}");
    let plain = Command::new("script")
        .arg("--quiet")
        .arg("--command")
        .arg(format!(
            "{} session {command}",
            env!("CARGO_BIN_EXE_tee-session")
        ))
        .arg("/dev/null")
        .env("TSA_URL", service.base())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output();
    let plain = String::from_utf8(plain.await.unwrap().stdout).unwrap();
    assert!(plain.contains("SESSION ID") && !styled(&plain), "{plain}");
}
