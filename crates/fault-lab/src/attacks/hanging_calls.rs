//! Calls through the upstream gateway to sites that hang. These sites accept connections and read
//! requests, but never answer.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use tee_session_test_support::{ServiceProcess, TestSite};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::measure::log_in_to;
use crate::progress::say;

/// Number of calls that hang at the same time. The number is the default of
/// `upstream_max_in_flight`.
pub(super) const CALLS: usize = 256;

/// Additional command-line flags of the service. The response timeout is longer than the set-up and
/// the measurement together, so that all calls hang until the end of the measurement.
pub(super) const FLAGS: [&str; 4] = [
    "--upstream-response-timeout-ms",
    "120000",
    "--shutdown-timeout",
    "121",
];

/// Number of sites. The service sends at most a quarter of [`CALLS`] to one site at a time, so four
/// sites are needed.
const SITES: usize = 4;

/// Timeout for the sites to receive all calls.
const RECEIVED_WITHIN: Duration = Duration::from_secs(10);

/// Calls that are in progress until this value is dropped, or until `upstream_response_timeout_ms`
/// has passed.
pub(super) struct HangingCalls {
    _sites: Vec<TestSite>,
    calls: JoinSet<()>,
}

impl HangingCalls {
    /// Starts [`CALLS`] calls, each with a separate session. Returns when the sites have received
    /// all of them.
    pub(super) async fn start(service: &ServiceProcess) -> anyhow::Result<Self> {
        let mut sites = Vec::new();
        for _ in 0..SITES {
            sites.push(hanging_site().await);
        }
        let address = service.base().trim_start_matches("http://");
        let address: SocketAddr = address.parse().context("the address of the service")?;
        let mut calls = JoinSet::new();
        for site in sites.iter().cycle().take(CALLS) {
            let token = log_in_to(service, &site.url()).await?;
            calls.spawn(async move {
                // The result is ignored, because the received calls are counted below.
                let _ = call(address, &token).await;
            });
        }
        let until = Instant::now() + RECEIVED_WITHIN;
        while sites.iter().map(|site| site.seen().total()).sum::<usize>() < CALLS {
            ensure!(
                Instant::now() < until,
                "the sites did not receive all calls"
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            _sites: sites,
            calls,
        })
    }

    /// Ends the calls. Returns `true` if all of them were still in progress.
    pub(super) fn end(mut self) -> bool {
        let all_hang = self.calls.try_join_next().is_none();
        if !all_hang {
            say(
                "a call ended during the measurement: use fewer --seconds, because calls end after \
                 upstream_response_timeout_ms (120 s)",
            );
        }
        all_hang
    }
}

async fn hanging_site() -> TestSite {
    TestSite::start(|mut stream, seen| async move {
        seen.read_head(&mut stream).await;
        // Ends when the service closes the connection.
        let _ = stream.read_u8().await;
    })
    .await
}

/// Sends a call through the gateway, and waits for the response.
async fn call(address: SocketAddr, token: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /v1/upstream/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.read_u8().await.map(|_| ())
}
