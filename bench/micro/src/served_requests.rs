//! The whole service in this process, and what it allocates for each request.

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
use tee_session_redis_adapter::{RedisChanges, RedisRepository, RedisSettings};
use tee_session_test_support::RedisProcess;
use tokio::sync::oneshot;
use tracing::level_filters::LevelFilter;

use crate::{
    allocation_sites::{self, CallPath, Cost},
    counting_allocator::Allocated,
    keep_alive_client::KeepAliveClient,
    sample,
};

const READY_WITHIN: Duration = Duration::from_secs(10);

/// Until then pools and buffers have grown to what they need.
const WARM_UP_REQUESTS: u32 = 2_000;

/// Backtraces take their time.
const WATCHED_REQUESTS: u32 = 500;

/// Requests that are counted.
pub const COUNTED_REQUESTS: u32 = 10_000;

/// A way to configure the service.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name in the record.
    pub name: &'static str,
    touch_interval: Duration,
    near_cache: Option<NearCacheSettings>,
}

/// All that are measured; records are sealed, as they are by default.
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
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SCENARIOS.into_iter().find(|scenario| scenario.name == name)
    }

    /// What `GET /v1/session` makes the process allocate, over [`COUNTED_REQUESTS`]. Once in a
    /// process, which logs to its standard output.
    ///
    /// # Errors
    /// When the service or Redis cannot be started, or an answer is not 200.
    pub fn count(self) -> anyhow::Result<Allocated> {
        self.with_client(|client, request| {
            let before = Allocated::so_far();
            ask(client, request, COUNTED_REQUESTS)?;
            Ok(Allocated::so_far() - before)
        })
    }

    /// Where the allocations of so many requests come from, which is given back as well. Once in a
    /// process.
    ///
    /// # Errors
    /// As [`count`](Self::count).
    pub fn sites(self) -> anyhow::Result<(Vec<(CallPath, Cost)>, u32)> {
        self.with_client(|client, request| {
            allocation_sites::watch();
            let asked = ask(client, request, WATCHED_REQUESTS);
            let found = allocation_sites::found();
            asked.map(|()| (found, WATCHED_REQUESTS))
        })
    }

    /// Serves, and calls `measure` on another thread with a client and its request, warmed up.
    fn with_client<T, F>(self, measure: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut KeepAliveClient, &[u8]) -> anyhow::Result<T> + Send + 'static,
    {
        let _log = start_logging(LevelFilter::INFO, LogFormat::Json, Vec::new())?;
        let settings = self.settings()?;
        System::new().block_on(async {
            let redis = RedisProcess::start().await;
            let store = RedisSettings::new(&redis.url())?.telling_changes()?;
            let feed = store.clone();
            let application =
                Application::build(settings, move || RedisRepository::connect(&store))?;
            let changes = application
                .near_cache()
                .map(|cache| RedisChanges::tell(&feed, cache.max_stale(), cache));
            if let Some(changes) = &changes {
                let telling = changes.wait_until_telling(READY_WITHIN).await?;
                ensure!(telling, "Redis does not tell of changes");
            }
            let address = application.address();
            let (stop, stopped) = oneshot::channel();
            let client = thread::spawn(move || {
                // Dropped at the end, whatever happens: then the service stops.
                let _stop: oneshot::Sender<()> = stop;
                let mut client = ready_client(address)?;
                let request = log_in(&mut client)?;
                ask(&mut client, &request, WARM_UP_REQUESTS)?;
                measure(&mut client, &request)
            });
            let stopped = async {
                let _ = stopped.await;
            };
            application.run(stopped).await?;
            client.join().map_err(|_| anyhow!("the client panicked"))?
        })
    }

    /// As users run it. One worker: there is one connection.
    fn settings(self) -> anyhow::Result<ApiSettings> {
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(ApiSettings {
            address: free_port,
            metrics_address: Some(free_port),
            workers: 1,
            policy: SessionPolicy::default().with_touch_interval(self.touch_interval)?,
            near_cache: self.near_cache,
            store: StoreKind::Redis,
            ..ApiSettings::default()
        })
    }
}

fn ready_client(address: SocketAddr) -> anyhow::Result<KeepAliveClient> {
    const READY: &[u8] = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = KeepAliveClient::connect(address)?;
    let started = Instant::now();
    while client.ask(READY)?.status != 200 {
        ensure!(
            started.elapsed() < READY_WITHIN,
            "the service did not get ready"
        );
        thread::sleep(Duration::from_millis(10));
    }
    Ok(client)
}

/// A request with the token of a new session.
fn log_in(client: &mut KeepAliveClient) -> anyhow::Result<Vec<u8>> {
    let body = sample::create_body();
    let login = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    let answer = client.ask(login.as_bytes())?;
    ensure!(
        answer.status == 201,
        "a login was answered with {}",
        answer.status
    );
    let token = str::from_utf8(answer.body)?
        .split_once(r#""access_token":""#)
        .and_then(|(_, rest)| Some(rest.split_once('"')?.0))
        .context("the answer to a login has no access_token")?;
    let request = format!(
        "GET /v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    Ok(request.into_bytes())
}

fn ask(client: &mut KeepAliveClient, request: &[u8], times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        let status = client.ask(request)?.status;
        if status != 200 {
            return Err(io::Error::other(format!("a request was answered with {status}")).into());
        }
    }
    Ok(())
}
