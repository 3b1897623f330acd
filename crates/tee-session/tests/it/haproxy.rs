//! Test with the health checks of HAProxy.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use reqwest::{Client, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually, free_port};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::service;

const STATE_WITHIN: Duration = Duration::from_secs(20);

/// Path of the documentation page with an example of an HAProxy backend.
const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/gateways/README.md"
);

/// Addresses of the Tee Session instances in the example of [`PAGE`].
const INSTANCES: [&str; 2] = ["10.0.0.11:8000", "10.0.0.12:8000"];

/// Returns the example of a backend in [`PAGE`].
fn page_backend() -> String {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, example) = page.split_once("```haproxy\n").unwrap();
    let example = example.split_once("```").unwrap().0;
    for instance in INSTANCES {
        assert!(example.contains(instance), "{example}");
    }
    example.to_owned()
}

/// Returns a backend with the health check `check`.
fn backend(check: &str) -> String {
    let [instance, _] = INSTANCES;
    format!(
        "backend tee-session
    {check}
    default-server inter 100ms fall 1 rise 1
    server api-1 {instance} check
"
    )
}

/// A running HAProxy with one backend. Dropping the value stops HAProxy.
struct HaProxy {
    _process: Child,
    _directory: TempDir,
    base: String,
    client: Client,
}

impl HaProxy {
    /// Starts HAProxy with `backend`. Replaces the address of each instance in it by `server`.
    fn start(server: SocketAddr, backend: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let port = free_port();
        let mut backend = backend.to_owned();
        for instance in INSTANCES {
            backend = backend.replace(instance, &server.to_string());
        }
        let configuration = format!(
            "defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend clients
    bind 127.0.0.1:{port}
    stats enable
    stats uri /haproxy-state
    default_backend tee-session
{backend}"
        );
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let mut haproxy = Command::new("/usr/sbin/haproxy");
        haproxy.arg("-db").arg("-f").arg(file);
        haproxy.stdin(Stdio::null()).stdout(Stdio::null());
        let process = haproxy.stderr(Stdio::null()).kill_on_drop(true).spawn();
        Self {
            _process: process.expect("HAProxy is missing: scripts/setup installs it"),
            _directory: directory,
            base: format!("http://127.0.0.1:{port}"),
            client: Client::new(),
        }
    }

    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.client.get(format!("{}{path}", self.base)).send().await
    }

    /// Waits until the last health check had the result `check`, for example `L7OK,200`.
    async fn until_checked(&self, check: &str) {
        eventually(STATE_WITHIN, async || {
            let Ok(state) = self.get("/haproxy-state;csv").await else {
                return false;
            };
            let state = state.text().await.unwrap();
            let server = state
                .lines()
                .find(|line| line.starts_with("tee-session,api-1,"));
            server.is_some_and(|server| server.contains(check))
        })
        .await;
    }
}

/// By default, HAProxy sends an `OPTIONS` request as the health check. The health check must
/// succeed only while the instance is ready.
#[rstest]
#[case::page(page_backend())]
#[case::default_method(backend("option httpchk /health/ready"))]
#[case::get(backend("option httpchk GET /health/ready"))]
#[case::head(backend("option httpchk HEAD /health/ready"))]
#[tokio::test]
async fn haproxy_sends_requests_to_an_instance_only_while_it_is_ready(#[case] backend: String) {
    let mut redis = RedisProcess::start().await;
    let service = service::start(&["--redis-url", &redis.url()]).await;
    let server = service.base()["http://".len()..].parse().unwrap();
    let haproxy = HaProxy::start(server, &backend);
    haproxy.until_checked("L7OK,200,").await;
    let live = haproxy.get("/health/live").await.unwrap();
    assert_eq!(live.status(), StatusCode::OK);
    redis.kill().await;
    haproxy.until_checked("L7STS,503,").await;
    // On the page, a server is down after the second failed check.
    eventually(STATE_WITHIN, async || {
        let refused = haproxy.get("/health/live").await.unwrap();
        refused.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    redis.start_again().await;
    haproxy.until_checked("L7OK,200,").await;
}
