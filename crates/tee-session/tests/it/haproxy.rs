//! Test with the health checks of HAProxy.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use reqwest::{Client, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually, free_port};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::service;

const STATE_WITHIN: Duration = Duration::from_secs(20);

/// A running HAProxy with one server. Dropping the value stops HAProxy.
struct HaProxy {
    _process: Child,
    _directory: TempDir,
    base: String,
    client: Client,
}

impl HaProxy {
    /// Starts HAProxy in front of `server`. `check` are the lines that configure the health check.
    fn start(server: SocketAddr, check: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let port = free_port();
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
    default_backend instances
backend instances
    {check}
    default-server inter 100ms fall 1 rise 1
    server tee-session {server} check
"
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
                .find(|line| line.starts_with("instances,tee-session,"));
            server.is_some_and(|server| server.contains(check))
        })
        .await;
    }
}

/// By default, HAProxy sends an `OPTIONS` request as the health check. The health check must
/// succeed only while the instance is ready.
#[rstest]
#[case::default_method("option httpchk /health/ready")]
#[case::get("option httpchk GET /health/ready")]
#[case::head("option httpchk HEAD /health/ready")]
#[tokio::test]
async fn haproxy_sends_requests_to_an_instance_only_while_it_is_ready(#[case] check: &str) {
    let mut redis = RedisProcess::start().await;
    let service = service::start(&["--redis-url", &redis.url()]).await;
    let server = service.base()["http://".len()..].parse().unwrap();
    let haproxy = HaProxy::start(server, check);
    haproxy.until_checked("L7OK,200,").await;
    let live = haproxy.get("/health/live").await.unwrap();
    assert_eq!(live.status(), StatusCode::OK);
    redis.kill().await;
    haproxy.until_checked("L7STS,503,").await;
    let refused = haproxy.get("/health/live").await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    redis.start_again().await;
    haproxy.until_checked("L7OK,200,").await;
}
