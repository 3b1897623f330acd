//! Tests of the first contact with the service: the start on a terminal, the start page, and the
//! commands in the documentation.

use std::{path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Client, Method, StatusCode, redirect::Policy};
use rstest::rstest;
use tee_session_test_support::{eventually, free_port};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::service;

const WITHIN: Duration = Duration::from_secs(10);

/// A shell command that runs on a pseudo-terminal.
struct Terminal {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    /// Prints the id of the process, and then runs `tee-session ARGUMENTS` in this process.
    fn start(arguments: &str) -> Self {
        let binary = env!("CARGO_BIN_EXE_tee-session");
        let command = format!("echo process id: $$; exec {binary} {arguments}");
        let mut process = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env_remove("TSA_LOG_FORMAT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script is installed (util-linux)");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Waits until a line contains `expected`, and returns this line.
    async fn line_with(&mut self, expected: &str) -> String {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.expect("the service runs");
                if line.contains(expected) {
                    return line;
                }
            }
        };
        timeout(WITHIN, found).await.unwrap()
    }
}

#[tokio::test]
async fn log_on_a_terminal_is_text_and_names_the_url_of_the_docs() {
    let port = free_port();
    let expected =
        format!("Listening on http://127.0.0.1:{port}, try http://127.0.0.1:{port}/docs");
    let mut terminal = Terminal::start(&format!("--port {port}"));
    let line = terminal.line_with(&expected).await;
    assert!(!line.contains('{'), "{line}");
}

#[tokio::test]
async fn log_on_a_terminal_is_json_if_the_log_format_is_json() {
    let arguments = format!("--port {} --log-format json", free_port());
    let line = Terminal::start(&arguments).line_with("Listening on").await;
    assert!(line.trim_end().starts_with('{'), "{line}");
}

/// A terminal sends SIGHUP when it is closed.
#[tokio::test]
async fn sighup_stops_a_service_on_a_terminal_gracefully() {
    let mut terminal = Terminal::start(&format!("--port {}", free_port()));
    let id = terminal.line_with("process id: ").await;
    let id = id.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
    terminal.line_with("Listening on").await;
    kill(Pid::from_raw(id), Signal::SIGHUP).unwrap();
    terminal.line_with("Shutting down").await;
    let ended = timeout(WITHIN, terminal.process.wait()).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(0));
}

/// The log must contain an address that a browser can open. The address on which the service
/// listens (`0.0.0.0`) is not such an address.
#[rstest]
#[case::all_ipv4_addresses("0.0.0.0", "http://127.0.0.1:")]
#[case::all_ipv6_addresses("[::]", "http://[::1]:")]
#[tokio::test]
async fn service_that_listens_on_all_addresses_logs_a_loopback_url(
    #[case] host: &str,
    #[case] url: &str,
) {
    let flags = ["--host", host, "--service-clients", service::CLIENTS];
    let service = service::start(&flags).await;
    let expected = format!("Listening on {url}");
    eventually(WITHIN, async || service.output().contains(&expected)).await;
}

#[rstest]
#[case::browser("text/html,application/xhtml+xml,*/*;q=0.8", true)]
#[case::upper_case("TEXT/HTML", true)]
#[case::any_type("*/*", false)]
#[case::json("application/json", false)]
#[tokio::test]
async fn root_redirects_browsers_to_the_docs_and_returns_404_to_other_clients(
    #[case] accept: &str,
    #[case] is_redirected: bool,
) {
    let service = service::start(&[]).await;
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    for method in [Method::GET, Method::HEAD] {
        let is_head = method == Method::HEAD;
        let request = client.request(method, format!("{}/", service.base()));
        let response = request.header("accept", accept).send().await.unwrap();
        if is_redirected {
            assert_eq!(response.status(), StatusCode::FOUND);
            let target = response
                .url()
                .join(response.headers()["location"].to_str().unwrap());
            assert_eq!(target.unwrap().path(), "/docs");
        } else {
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            let body = response.text().await.unwrap();
            assert!(
                is_head || body.contains("/docs is a page to try the API"),
                "{body}"
            );
        }
    }
    let posted = service.request(Method::POST, "/").header("accept", accept);
    assert_eq!(posted.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn percent_encoded_letters_and_digits_of_a_path_are_decoded() {
    let service = service::start(&[]).await;
    let request = service.request(Method::GET, "/%76%31/%73ession");
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
}

/// Returns the first block of shell commands after the line `heading` in `page`, a file of the
/// repository.
fn commands_after(page: &str, heading: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(page)).unwrap();
    let (_, section) = text.split_once(&format!("\n{heading}\n")).unwrap();
    let (_, block) = section.split_once("\n```sh\n").unwrap();
    block.split_once("\n```\n").unwrap().0.to_owned()
}

/// Starts a service, and runs commands from the documentation in a shell. Replaces the default
/// address in the commands by the address of the service. Returns the output of the commands.
async fn paste(commands: &str) -> String {
    let service = service::start(&[]).await;
    let commands = commands.replace("http://127.0.0.1:8000", service.base());
    let output = Command::new("bash")
        .args(["-c", &commands])
        .output()
        .await
        .unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn readme_commands_for_a_first_session_succeed_in_a_shell() {
    let shown = paste(&commands_after("README.md", "## First session")).await;
    let expected = [
        r#"{"access_token":""#,
        r#""cookies":{"SESSIONID":"a1b2c3"}"#,
        r#"{"ttl":"#,
        "204",
        r#""code":"invalid_token""#,
    ];
    assert_lines(&shown, &expected);
}

/// Asserts that `shown` has as many lines as `expected` has texts, and that each line contains its
/// text.
fn assert_lines(shown: &str, expected: &[&str]) {
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{shown}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{expected} is missing in {shown}");
    }
}

/// For each output line of the commands after the heading "Change, rotate, revoke" of the HTTP API
/// page: a text that the line must contain.
const CHANGE_ROTATE_REVOKE: [&str; 7] = [
    r#"{"access_token":""#,
    r#""cookies":{"SESSIONID":"d4e5f6"}"#,
    r#""lang":"en""#,
    r#"{"access_token":""#,
    r#"{"sessions":[{"session_id":""#,
    "204",
    r#"{"revoked":0}"#,
];

/// Returns all blocks of shell commands of the page `docs/http-api.md` that call the service with
/// `curl`, in their order.
fn curl_commands_of_the_http_api_page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("docs/http-api.md")).unwrap();
    let blocks = text.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("\n```\n").unwrap().0);
    let blocks: Vec<_> = blocks.filter(|block| block.contains("curl ")).collect();
    blocks.join("\n")
}

/// Each block of the page may use a variable of an earlier block, such as the newest token.
#[tokio::test]
async fn curl_commands_of_the_http_api_page_succeed_in_one_shell() {
    let shown = paste(&curl_commands_of_the_http_api_page()).await;
    let before = [
        // Try it with curl
        r#"{"access_token":""#,
        // Cookies that the site sets
        r#""cookies":{"SESSIONID":"d4e5f6"}"#,
        // Repeat a login or a rotation
        r#"{"access_token":""#,
        r#"{"access_token":""#,
        r#"{"access_token":""#,
        r#"{"access_token":""#,
    ];
    assert_lines(&shown, &[before.as_slice(), &CHANGE_ROTATE_REVOKE].concat());
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        lines[2], lines[3],
        "a repeated login returns the same token"
    );
    assert_eq!(
        lines[4], lines[5],
        "a repeated rotation returns the same token"
    );
    assert_ne!(lines[3], lines[4], "a rotation returns a new token");
}

#[tokio::test]
async fn documented_commands_that_change_rotate_and_revoke_sessions_succeed_in_a_new_shell() {
    let heading = "## Change, rotate, revoke";
    let shown = paste(&commands_after("docs/http-api.md", heading)).await;
    assert_lines(&shown, &CHANGE_ROTATE_REVOKE);
}
