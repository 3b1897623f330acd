//! Counts the memory allocations of the whole service per request. The service runs in the process
//! of the benchmark.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use actix_web::rt::System;
use anyhow::{Context, anyhow, ensure};
use tee_session_api_server::{
    ApiSettings, Application, LogFormat, NearCacheSettings, StoreKind, start_logging,
};
use tee_session_domain::SessionPolicy;
use tee_session_redis_adapter::{RedisInvalidationFeed, RedisRepository, RedisSettings};
use tokio::sync::oneshot;
use tracing::level_filters::LevelFilter;

use crate::{
    allocation_sites::{self, CallPath, Cost},
    counting_allocator::Allocated,
    keep_alive_client::KeepAliveClient,
    redis_server::RedisServer,
    sample,
};

/// Timeout for the service and the invalidation feed to become ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Number of requests before the measurement. During these requests, pools and buffers grow to
/// their final size.
const WARM_UP_REQUESTS: u32 = 2_000;

/// Number of requests whose allocations are recorded with call paths. The number is small, because
/// recording a backtrace is slow.
const WATCHED_REQUESTS: u32 = 500;

/// Number of requests whose allocations are counted.
pub const COUNTED_REQUESTS: u32 = 10_000;

/// A configuration of the service whose allocations are measured.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Name of the configuration in the output and in the file of recorded counts.
    pub name: &'static str,
    touch_interval: Duration,
    near_cache: Option<NearCacheSettings>,
}

/// All measured configurations. Each configuration uses the default storage format, in which
/// session records are sealed (encrypted).
pub const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "sealed_sliding",
        touch_interval: Duration::ZERO,
        near_cache: None,
    },
    Scenario {
        name: "sealed_touch_60",
        touch_interval: Duration::from_secs(60),
        near_cache: None,
    },
    Scenario {
        name: "near_cache",
        touch_interval: Duration::from_secs(60),
        near_cache: Some(NearCacheSettings {
            max_stale: Duration::from_secs(1),
            max_entries: 1_000,
            max_bytes: 1_048_576,
        }),
    },
];

impl Scenario {
    /// Returns the configuration with the name `name`, or `None` if there is no such configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SCENARIOS.into_iter().find(|scenario| scenario.name == name)
    }

    /// Counts the allocations of the process while the service answers [`COUNTED_REQUESTS`]
    /// requests `GET /v1/session`.
    ///
    /// A process can call this function only once, because it starts logging to standard output.
    ///
    /// # Errors
    /// Fails if:
    ///
    /// - logging, Redis or the service cannot be started
    /// - the service does not become ready
    /// - a response does not have the expected status
    pub fn count(self) -> anyhow::Result<Allocated> {
        self.with_client(|client, request| {
            let before = Allocated::since_start();
            send_repeatedly(client, request, COUNTED_REQUESTS)?;
            Ok(Allocated::since_start() - before)
        })
    }

    /// Records the call paths of allocations during a series of requests `GET /v1/session`. Returns
    /// the call paths with their allocations, and the number of requests in the series.
    ///
    /// A process can call this function only once, because it starts logging to standard output.
    ///
    /// # Errors
    /// Fails for the same reasons as [`count`](Self::count).
    pub fn sites(self) -> anyhow::Result<(Vec<(CallPath, Cost)>, u32)> {
        self.with_client(|client, request| {
            allocation_sites::start();
            let result = send_repeatedly(client, request, WATCHED_REQUESTS);
            let sites = allocation_sites::stop();
            result.map(|()| (sites, WATCHED_REQUESTS))
        })
    }

    /// Runs the service, sends the warm-up requests, and calls `measure` on another thread.
    /// `measure` gets a client that is connected to the service, and the request to send.
    fn with_client<T, F>(self, measure: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut KeepAliveClient, &[u8]) -> anyhow::Result<T> + Send + 'static,
    {
        let _log = start_logging(LevelFilter::INFO, LogFormat::Json, Vec::new())?;
        let settings = self.settings()?;
        System::new().block_on(async {
            let redis = RedisServer::start()?;
            let store = RedisSettings::new(&redis.url())?.with_invalidation_feed()?;
            let feed = store.clone();
            let application =
                Application::build(settings, move || RedisRepository::connect(&store))?;
            let changes = application
                .near_cache()
                .map(|cache| RedisInvalidationFeed::subscribe(&feed, cache.max_stale(), cache));
            if let Some(changes) = &changes {
                let is_up = changes.wait_until_feed_is_up(READY_WITHIN).await?;
                ensure!(is_up, "the invalidation feed did not come up");
            }
            let address = application.address();
            let (stop, stopped) = oneshot::channel();
            let client = thread::spawn(move || {
                // The service stops when this sender is dropped, which happens when the thread
                // ends, even after a failure.
                let _stop: oneshot::Sender<()> = stop;
                let mut client = ready_client(address)?;
                let request = log_in(&mut client)?;
                send_repeatedly(&mut client, &request, WARM_UP_REQUESTS)?;
                measure(&mut client, &request)
            });
            let stopped = async {
                let _ = stopped.await;
            };
            application.run(stopped).await?;
            client.join().map_err(|_| anyhow!("the client panicked"))?
        })
    }

    /// Returns the settings of the service in this configuration. The service has one worker,
    /// because the benchmark uses one connection.
    fn settings(self) -> anyhow::Result<ApiSettings> {
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(ApiSettings {
            address: free_port,
            metrics_address: Some(free_port),
            workers: 1,
            policy: SessionPolicy::default().with_touch_interval(self.touch_interval)?,
            near_cache: self.near_cache,
            store: StoreKind::Redis,
            allow_anonymous_clients: true,
            ..ApiSettings::default()
        })
    }
}

/// Opens a connection to the service, and waits until the service is ready.
fn ready_client(address: SocketAddr) -> anyhow::Result<KeepAliveClient> {
    const READY: &[u8] = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = KeepAliveClient::connect(address)?;
    let started = Instant::now();
    while client.send(READY)?.status != 200 {
        ensure!(
            started.elapsed() < READY_WITHIN,
            "the service did not become ready"
        );
        thread::sleep(Duration::from_millis(10));
    }
    Ok(client)
}

/// Creates a session, and returns a request `GET /v1/session` with the token of that session.
fn log_in(client: &mut KeepAliveClient) -> anyhow::Result<Vec<u8>> {
    let body = sample::create_body();
    let login = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    let response = client.send(login.as_bytes())?;
    ensure!(
        response.status == 201,
        "a login was answered with {}",
        response.status
    );
    let token = str::from_utf8(response.body)?
        .split_once(r#""access_token":""#)
        .and_then(|(_, rest)| Some(rest.split_once('"')?.0))
        .context("the response to a login has no access_token")?;
    let request = format!(
        "GET /v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    Ok(request.into_bytes())
}

/// Sends the request `times` times. Fails if a response is not 200.
fn send_repeatedly(client: &mut KeepAliveClient, request: &[u8], times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        let status = client.send(request)?.status;
        if status != 200 {
            return Err(io::Error::other(format!("a request was answered with {status}")).into());
        }
    }
    Ok(())
}
