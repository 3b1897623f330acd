//! The binary as a child process.

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
use tee_session_test_support::eventually;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};

const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// The binary, without any setting of this machine's environment.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tee-session"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A running service on a free port.
pub(crate) struct Service {
    process: Child,
    output: Arc<Mutex<Vec<u8>>>,
    pub(crate) client: Client,
    base: String,
}

impl Service {
    /// Starts it on a free port, and waits until it listens. Its log is read for that: it has
    /// to be JSON.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let mut service = Self::spawn(&[&["--api-port", "0"], flags].concat());
        eventually(STARTED_WITHIN, async || {
            !service.events("Starting up").is_empty()
        })
        .await;
        let started = &service.events("Starting up")[0];
        service.base = format!("http://{}", started["address"].as_str().unwrap());
        service
    }

    /// Starts it with a log for people, on a port that was free a moment ago.
    pub(crate) async fn start_with_text_log(flags: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let port = free.port().to_string();
        let more = ["--api-port", &port, "--log-format", "text"];
        let mut service = Self::spawn(&[flags, &more].concat());
        service.base = format!("http://{free}");
        eventually(STARTED_WITHIN, async || {
            service.output().contains("Starting up")
        })
        .await;
        service
    }

    /// From now on its address is one for HTTPS.
    pub(crate) fn speak_https(&mut self, client: Client) {
        self.base = self.base.replace("http://", "https://");
        self.client = client;
    }

    fn spawn(flags: &[&str]) -> Self {
        let mut process = binary()
            .arg("serve")
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        collect(process.stdout.take().unwrap(), &output);
        collect(process.stderr.take().unwrap(), &output);
        Self {
            process,
            output,
            client: Client::new(),
            base: String::new(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// A connection, for what no client sends.
    pub(crate) async fn connect(&self) -> TcpStream {
        let address = self.base.trim_start_matches("http://");
        TcpStream::connect(address).await.unwrap()
    }

    pub(crate) async fn status(&self, method: Method, path: &str, token: &str) -> StatusCode {
        let request = self.request(method, path).bearer_auth(token);
        request.send().await.unwrap().status()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.request(Method::GET, path)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    pub(crate) async fn until_ready(&self, within: Duration) -> Duration {
        eventually(within, async || {
            let ready = self.request(Method::GET, "/health/ready").send().await;
            ready.is_ok_and(|response| response.status() == StatusCode::OK)
        })
        .await
    }

    /// Creates a session with one cookie, and gives the token.
    pub(crate) async fn log_in(&self, cookie_value: &str) -> String {
        let body = serde_json::json!({
            "cookies": {"SESSIONID": cookie_value},
            "base_url": "https://golf.example/members?secret=in-the-query",
        });
        let response = self
            .request(Method::POST, "/v1/sessions")
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let created: Value = response.json().await.unwrap();
        created["access_token"].as_str().unwrap().to_owned()
    }

    /// Everything that it wrote so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// The logged events with this message.
    pub(crate) fn events(&self, message: &str) -> Vec<Value> {
        let output = self.output();
        let events = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.process.id().expect("it runs")).unwrap();
        kill(Pid::from_raw(process), signal).unwrap();
    }

    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        timeout(within, self.process.wait())
            .await
            .expect("it ends in time")
            .unwrap()
    }
}

fn collect(mut stream: impl AsyncRead + Unpin + Send + 'static, output: &Arc<Mutex<Vec<u8>>>) {
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut chunk = [0; 4_096];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            output.lock().unwrap().extend_from_slice(&chunk[..length]);
        }
    });
}
