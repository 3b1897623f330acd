//! The service binary as a child process of a test.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use crate::{eventually, redis_process::free_port};

/// Timeout for the service to start and to accept connections.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// Timeout for a login with which a test begins.
const LOGGED_IN_WITHIN: Duration = Duration::from_secs(20);

/// A running service on a free port. If the command was built with `kill_on_drop`, dropping this
/// value ends the service process.
pub struct ServiceProcess {
    process: Child,
    output: Arc<Mutex<Vec<u8>>>,
    /// HTTP client that sends the requests to the service.
    pub client: Client,
    base: String,
}

/// Allows callers without credentials: sets `TSA_ALLOW_ANONYMOUS_CLIENTS`, unless the test has set
/// this variable. If service clients are configured, the variable only causes a warning.
fn allow_anonymous_clients(command: &mut Command) {
    const NAME: &str = "TSA_ALLOW_ANONYMOUS_CLIENTS";
    if command.as_std().get_envs().all(|(name, _)| name != NAME) {
        command.env(NAME, "true");
    }
}

impl ServiceProcess {
    /// Starts the service with the command-line options in `flags` on a free port, and waits until
    /// the service listens.
    ///
    /// `command` runs the service binary directly, or through another program that passes its
    /// arguments on to the binary. The port is read from the log, so the log format must be JSON,
    /// and the log must contain events of the level `INFO`.
    pub async fn start(command: Command, flags: &[&str]) -> Self {
        let mut service = Self::spawn(command, &[&["--api-port", "0"], flags].concat());
        eventually(STARTED_WITHIN, async || {
            !service.events("Starting up").is_empty()
        })
        .await;
        let started = &service.events("Starting up")[0];
        service.base = format!(
            "http://{}",
            started["address"].as_str().expect("the service works")
        );
        service
    }

    /// Starts the service with the text log format, on a port that was free before the start. Waits
    /// until the service responds.
    pub async fn start_with_text_log(command: Command, flags: &[&str]) -> Self {
        Self::start_at_any_level(command, &[flags, &["--log-format", "text"]].concat()).await
    }

    /// Starts the service on a free port that this function chooses, and waits until the service
    /// responds. The function does not read the port from the log, so `flags` may set any log level
    /// and log format.
    pub async fn start_at_any_level(command: Command, flags: &[&str]) -> Self {
        let port = free_port();
        let mut service = Self::spawn(
            command,
            &[flags, &["--api-port", &port.to_string()]].concat(),
        );
        service.base = format!("http://127.0.0.1:{port}");
        service.until_live().await;
        service
    }

    /// Starts the service on a port that was free before the start, and waits until the service
    /// responds. The output is not captured: `command` defines where the output goes.
    pub async fn start_without_capture(mut command: Command, flags: &[&str]) -> Self {
        let port = free_port();
        let more = ["serve", "--api-port", &port.to_string()];
        command.args(more).args(flags);
        allow_anonymous_clients(&mut command);
        let service = Self {
            process: command.spawn().expect("the binary starts"),
            output: Arc::default(),
            client: Client::new(),
            base: format!("http://127.0.0.1:{port}"),
        };
        service.until_live().await;
        service
    }

    async fn until_live(&self) {
        eventually(STARTED_WITHIN, async || {
            let live = self.request(Method::GET, "/health/live").send().await;
            live.is_ok()
        })
        .await;
    }

    /// Switches all further requests to HTTPS. The requests are then sent by `client`.
    pub fn speak_https(&mut self, client: Client) {
        self.base = self.base.replace("http://", "https://");
        self.client = client;
    }

    fn spawn(mut command: Command, flags: &[&str]) -> Self {
        allow_anonymous_clients(&mut command);
        let mut process = command
            .arg("serve")
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the service works");
        let output = Arc::new(Mutex::new(Vec::new()));
        collect(process.stdout.take().expect("the service works"), &output);
        collect(process.stderr.take().expect("the service works"), &output);
        Self {
            process,
            output,
            client: Client::new(),
            base: String::new(),
        }
    }

    /// Returns a builder for a request to the service. The caller sends the request.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Opens a TCP connection to the service, for bytes that no HTTP client would send.
    pub async fn connect(&self) -> TcpStream {
        let address = self.base.trim_start_matches("http://");
        TcpStream::connect(address)
            .await
            .expect("the service works")
    }

    /// Sends a request with the bearer token `token`, and returns the status of the response.
    pub async fn status(&self, method: Method, path: &str, token: &str) -> StatusCode {
        let request = self.request(method, path).bearer_auth(token);
        request.send().await.expect("the service works").status()
    }

    /// Sends a `GET` request for `path`, and returns the JSON body of the response.
    pub async fn json(&self, path: &str) -> Value {
        self.request(Method::GET, path)
            .send()
            .await
            .expect("the service works")
            .json()
            .await
            .expect("the service works")
    }

    /// Waits until the service reports that it is ready (`/health/ready`), and returns the elapsed
    /// time. Panics if the service is not ready after the time `within`.
    pub async fn until_ready(&self, within: Duration) -> Duration {
        eventually(within, async || {
            let ready = self.request(Method::GET, "/health/ready").send().await;
            ready.is_ok_and(|response| response.status() == StatusCode::OK)
        })
        .await
    }

    /// Creates a session with one cookie, which has the value `cookie_value`, and returns the token
    /// of the session.
    pub async fn log_in(&self, cookie_value: &str) -> String {
        let body = serde_json::json!({
            "cookies": {"SESSIONID": cookie_value},
            "base_url": "https://golf.example/members?secret=in-the-query",
        });
        let mut token = None;
        eventually(LOGGED_IN_WITHIN, async || {
            let request = self.request(Method::POST, "/v1/sessions").json(&body);
            let response = request.send().await.expect("the service works");
            let status = response.status();
            let body: Value = response.json().await.expect("the service works");
            // On a busy machine, the store may not reply in time.
            if body["code"] != "store_unavailable" {
                assert_eq!(status, StatusCode::CREATED, "{}", body["code"]);
                let created = body["access_token"].as_str();
                token = Some(created.expect("the service works").to_owned());
            }
            token.is_some()
        })
        .await;
        token.expect("the loop ends when there is a token")
    }

    /// Returns the base URL of the service, without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the resident memory of the service process (`VmRSS`), in kilobytes.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = format!(
            "/proc/{}/status",
            self.process.id().expect("the process runs")
        );
        let status = std::fs::read_to_string(status).expect("this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|size| size.trim().strip_suffix(" kB"));
        size.and_then(|size| size.parse().ok())
            .expect("a size in kB")
    }

    /// Returns the output of the service captured so far, from stdout and stderr.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("the service works")).into_owned()
    }

    /// Returns the captured log events whose message is `message`. The log format must be JSON.
    pub fn events(&self, message: &str) -> Vec<Value> {
        let output = self.output();
        let events = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    /// Sends `signal` to the service process.
    pub fn signal(&self, signal: Signal) {
        let process =
            i32::try_from(self.process.id().expect("the process runs")).expect("the service works");
        kill(Pid::from_raw(process), signal).expect("the service works");
    }

    /// Waits until the service process exits, and returns the exit status. Panics if the process
    /// still runs after the time `within`.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        timeout(within, self.process.wait())
            .await
            .expect("the process exits in time")
            .expect("the service works")
    }
}

fn collect(mut stream: impl AsyncRead + Unpin + Send + 'static, output: &Arc<Mutex<Vec<u8>>>) {
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut chunk = [0; 4_096];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            output
                .lock()
                .expect("the service works")
                .extend_from_slice(&chunk[..length]);
        }
    });
}
