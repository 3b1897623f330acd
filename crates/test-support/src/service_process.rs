//! The service's binary as a child process.

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

const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// A running service on a free port. It ends with the value.
pub struct ServiceProcess {
    process: Child,
    output: Arc<Mutex<Vec<u8>>>,
    /// What its requests are sent with.
    pub client: Client,
    base: String,
}

impl ServiceProcess {
    /// Starts `command` (the binary, or what runs it with the arguments that follow) on a free
    /// port with these flags, and waits until it listens. Its log is read for that: it has to be
    /// JSON.
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

    /// Starts it with a log for people, on a port that was free a moment ago.
    pub async fn start_with_text_log(command: Command, flags: &[&str]) -> Self {
        Self::start_at_any_level(command, &[flags, &["--log-format", "text"]].concat()).await
    }

    /// Starts it on a port that was free a moment ago, and waits until it answers: its log may be of
    /// any level and format.
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

    /// Starts one whose output goes where `command` says, on a port that was free a moment ago.
    pub async fn start_unheard(mut command: Command, flags: &[&str]) -> Self {
        let port = free_port();
        let more = ["serve", "--api-port", &port.to_string()];
        command.args(more).args(flags);
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

    /// From now on its address is one for HTTPS.
    pub fn speak_https(&mut self, client: Client) {
        self.base = self.base.replace("http://", "https://");
        self.client = client;
    }

    fn spawn(mut command: Command, flags: &[&str]) -> Self {
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

    /// A request to it, yet to be sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// A connection, for what no client sends.
    pub async fn connect(&self) -> TcpStream {
        let address = self.base.trim_start_matches("http://");
        TcpStream::connect(address)
            .await
            .expect("the service works")
    }

    /// The status that a request with this bearer token gets.
    pub async fn status(&self, method: Method, path: &str, token: &str) -> StatusCode {
        let request = self.request(method, path).bearer_auth(token);
        request.send().await.expect("the service works").status()
    }

    /// The JSON that stands at `path`.
    pub async fn json(&self, path: &str) -> Value {
        self.request(Method::GET, path)
            .send()
            .await
            .expect("the service works")
            .json()
            .await
            .expect("the service works")
    }

    /// Waits until it is ready; how long that took.
    pub async fn until_ready(&self, within: Duration) -> Duration {
        eventually(within, async || {
            let ready = self.request(Method::GET, "/health/ready").send().await;
            ready.is_ok_and(|response| response.status() == StatusCode::OK)
        })
        .await
    }

    /// Creates a session with one cookie, and gives the token.
    pub async fn log_in(&self, cookie_value: &str) -> String {
        let body = serde_json::json!({
            "cookies": {"SESSIONID": cookie_value},
            "base_url": "https://golf.example/members?secret=in-the-query",
        });
        let response = self
            .request(Method::POST, "/v1/sessions")
            .json(&body)
            .send()
            .await
            .expect("the service works");
        assert_eq!(response.status(), StatusCode::CREATED);
        let created: Value = response.json().await.expect("the service works");
        created["access_token"]
            .as_str()
            .expect("the service works")
            .to_owned()
    }

    /// Where it is, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its resident memory, in kilobytes.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id().expect("it runs"));
        let status = std::fs::read_to_string(status).expect("this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|size| size.trim().strip_suffix(" kB"));
        size.and_then(|size| size.parse().ok())
            .expect("a size in kB")
    }

    /// Everything that it wrote so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("the service works")).into_owned()
    }

    /// The logged events with this message.
    pub fn events(&self, message: &str) -> Vec<Value> {
        let output = self.output();
        let events = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let process =
            i32::try_from(self.process.id().expect("it runs")).expect("the service works");
        kill(Pid::from_raw(process), signal).expect("the service works");
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        timeout(within, self.process.wait())
            .await
            .expect("it ends in time")
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
