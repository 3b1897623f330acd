//! Measures the response times of regular clients, which do not attack.

use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tee_session_test_support::ServiceProcess;
use tokio::{task::JoinSet, time::sleep};

/// Id of the service client that creates sessions. Depending on the attack, the attackers know the
/// secret of this client or guess it.
pub(super) const CLIENT_ID: &str = "lab";
const SECRET: &str = "s3cret";
/// SHA-256 hash of [`SECRET`], the secret of the service client.
pub(super) const SECRET_SHA256: &str =
    "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Number of clients that read sessions at the same time.
const READERS: usize = 8;

/// Number of clients that create sessions at the same time.
const CREATORS: usize = 2;

/// Pause of each client between two requests.
const PAUSE: Duration = Duration::from_millis(10);

/// Timeout of a request. A request without a response within this time counts as failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Responses to the requests of all clients.
#[derive(Debug, Default)]
pub(super) struct Measured {
    gets: Vec<Duration>,
    logins: Vec<Duration>,
    failed: usize,
}

impl Measured {
    pub(super) fn requests(&self) -> usize {
        self.gets.len() + self.logins.len() + self.failed
    }

    /// Returns the share of the requests that succeeded, in per cent.
    pub(super) fn success(&self) -> f64 {
        let succeeded = self.gets.len() + self.logins.len();
        100.0 * succeeded as f64 / self.requests().max(1) as f64
    }

    pub(super) fn get_p99(&self) -> Duration {
        p99(&self.gets)
    }

    pub(super) fn login_p99(&self) -> Duration {
        p99(&self.logins)
    }
}

fn p99(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let index = sorted.len() * 99 / 100;
    sorted.get(index).copied().unwrap_or_default()
}

/// Base URL of the sessions of regular clients. The service sends no request to this site.
const BASE_URL: &str = "https://golf.example";

/// Creates a session, and returns its token.
pub(super) async fn log_in(service: &ServiceProcess) -> anyhow::Result<String> {
    log_in_to(service, BASE_URL).await
}

/// Creates a session with the base URL `base_url`, and returns its token.
pub(super) async fn log_in_to(service: &ServiceProcess, base_url: &str) -> anyhow::Result<String> {
    let request = login_request(&service.client, service.base(), base_url);
    let created = request.send().await?;
    let created: Value = created.error_for_status()?.json().await?;
    let token = created["access_token"].as_str();
    Ok(token.context("the response has a token")?.to_owned())
}

fn login_request(client: &Client, base: &str, base_url: &str) -> reqwest::RequestBuilder {
    client
        .post(format!("{base}/v1/sessions"))
        .basic_auth(CLIENT_ID, Some(SECRET))
        .json(&json!({"cookies": {"a": "1"}, "base_url": base_url}))
}

/// Sends requests of regular clients for `duration`, and measures the responses.
pub(super) async fn measure(
    service: &ServiceProcess,
    duration: Duration,
) -> anyhow::Result<Measured> {
    let token = log_in(service).await?;
    let until = Instant::now() + duration;
    let mut clients = JoinSet::new();
    for number in 0..READERS + CREATORS {
        let client = Client::builder().timeout(TIMEOUT).build()?;
        let (base, token) = (service.base().to_owned(), token.clone());
        let is_reader = number < READERS;
        clients.spawn(async move {
            let mut measured = Measured::default();
            while Instant::now() < until {
                let (request, expected) = if is_reader {
                    let get = client.get(format!("{base}/v1/session"));
                    (get.bearer_auth(&token), StatusCode::OK)
                } else {
                    (login_request(&client, &base, BASE_URL), StatusCode::CREATED)
                };
                let began = Instant::now();
                let response = request.send().await;
                match response {
                    Ok(response) if response.status() == expected => {
                        let durations = if is_reader {
                            &mut measured.gets
                        } else {
                            &mut measured.logins
                        };
                        durations.push(began.elapsed());
                    }
                    _ => measured.failed += 1,
                }
                sleep(PAUSE).await;
            }
            measured
        });
    }
    let mut all = Measured::default();
    for measured in clients.join_all().await {
        all.gets.extend(measured.gets);
        all.logins.extend(measured.logins);
        all.failed += measured.failed;
    }
    Ok(all)
}
