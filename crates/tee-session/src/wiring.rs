//! Creates the session store and the HTTP server from the settings, and runs the server until the
//! service stops.

use std::{
    io::IsTerminal,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use actix_web::rt::System;
use anyhow::{Context, bail};
use tee_session_api_server::{Application, NearCache, start_logging, watch_certificate};
use tee_session_domain::{SessionToken, TokenFormat};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_redis_adapter::{RedisInvalidationFeed, RedisRepository, RedisSettings};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{open_files, reload::watch_service_clients, settings::Settings, traces::Traces};

/// Maximum time to export the remaining trace spans when the service stops.
const LAST_EXPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Period after the first stop signal in which further stop signals are ignored. A process manager
/// may send two stop signals at once.
const SAME_STOP: Duration = Duration::from_millis(500);

/// Maximum time that the service waits at its start for the subscription to the Redis invalidation
/// feed. Redis uses this feed to report changed sessions. The service then removes its own copies
/// of these sessions.
const FEED_UP_WITHIN: Duration = Duration::from_secs(2);

/// Runs the service until a stop signal arrives. After the first signal, requests in flight may
/// still finish within the shutdown timeout. A second signal, at least [`SAME_STOP`] later, stops
/// the service at once.
pub(crate) fn serve(mut settings: Settings) -> anyhow::Result<()> {
    let traces = settings.traces.take();
    let traces = traces.as_ref().map(Traces::start).transpose()?;
    let layers = traces.iter().map(Traces::layer).collect();
    let _log = start_logging(settings.log_level, settings.log_format, layers)
        .context("logging cannot be started")?;
    for warning in &settings.warnings {
        tracing::warn!(warning, "Questionable setting");
    }
    open_files::raise_limit(&mut settings.api)?;
    // A part of the shutdown timeout is reserved for exporting the remaining trace spans.
    let shutdown_timeout = settings.api.shutdown_timeout;
    let export_timeout = LAST_EXPORT_TIMEOUT.min(shutdown_timeout / 4);
    if traces.is_some() {
        settings.api.shutdown_timeout = shutdown_timeout - export_timeout;
    }
    let served = run(settings);
    if let (Some(traces), Ok(())) = (traces, &served) {
        traces.shut_down(export_timeout);
    }
    served
}

/// Runs the server on a new Actix system (an async runtime), and blocks the current thread until
/// the server stops.
fn run(settings: Settings) -> anyhow::Result<()> {
    let _randomness = Randomness::prepare();
    System::new().block_on(async move {
        let signals = count_signals().context("signals cannot be received")?;
        let redis = settings.redis.clone();
        if let Some(file) = settings.service_clients_file.clone() {
            let clients = settings.api.service_clients.clone();
            actix_web::rt::spawn(watch_service_clients(file, clients));
        }
        if let Some(file) = settings.redis_certificate_file.clone() {
            actix_web::rt::spawn(watch_certificate(file));
        }
        let application = build(settings).context("the server cannot be started")?;
        let _invalidation_feed = match (application.near_cache(), redis) {
            (Some(cache), Some(redis)) => Some(subscribe(&redis, cache).await?),
            _ => None,
        };
        tokio::select! {
            ended = application.run(signal_count_reaches(1, signals.clone())) => {
                ended.context("the server failed")
            }
            () = signal_count_reaches(2, signals) => {
                bail!("a second signal stopped the service at once")
            }
        }
    })
}

/// Subscribes the near cache `cache` (copies of sessions in this process) to the Redis invalidation
/// feed. If Redis is unavailable, returns after [`FEED_UP_WITHIN`], and continues to subscribe in
/// the background. If Redis refuses the subscription, returns an error, and the service does not
/// start.
async fn subscribe(
    redis: &RedisSettings,
    cache: Arc<NearCache>,
) -> anyhow::Result<RedisInvalidationFeed> {
    let max_stale = cache.max_stale();
    let feed = RedisInvalidationFeed::subscribe(redis, max_stale, cache);
    let refused = "near_cache cannot be used with this Redis: grant its user the missing \
         permissions, or set near_cache to false";
    if !feed
        .wait_until_feed_is_up(FEED_UP_WITHIN)
        .await
        .context(refused)?
    {
        tracing::warn!(
            "The invalidation feed of Redis is not up yet: the near cache stays unused until it is"
        );
    }
    Ok(feed)
}

/// A thread that generates the first random token of the process. Generating the first random bytes
/// takes about 30 ms. Without this thread, a worker would be blocked for that time when it creates
/// the first session. Dropping the value waits until the thread ends, because the thread uses
/// global state that is freed when the process ends.
struct Randomness(Option<JoinHandle<()>>);

impl Randomness {
    fn prepare() -> Self {
        let generate = || drop(SessionToken::generate_as(TokenFormat::Opaque));
        Self(Some(thread::spawn(generate)))
    }
}

impl Drop for Randomness {
    fn drop(&mut self) {
        let _ = self.0.take().map(JoinHandle::join);
    }
}

fn build(settings: Settings) -> std::io::Result<Application> {
    if settings.api.service_clients.is_empty() {
        tracing::warn!(
            address = %settings.api.address,
            "No service_clients are set: anyone who can reach this address may create, list and end \
             sessions; never put a proxy in front of this service"
        );
    }
    if let Some(redis) = settings.redis {
        Application::build(settings.api, move || RedisRepository::connect(&redis))
    } else {
        tracing::warn!(
            max_sessions = settings.memory_max_sessions,
            "Sessions are kept in the memory of this process and are lost when it ends: set \
             redis_url to keep them, or to run more than one instance"
        );
        let repository = MemoryRepository::with_capacity(settings.memory_max_sessions);
        Application::build(settings.api, move || repository.clone())
    }
}

/// Counts stop signals in the background. Returns a channel that contains the current count.
///
/// Stop signals are SIGTERM, SIGINT and SIGQUIT. SIGHUP is a stop signal only if standard input is
/// a terminal, because a terminal sends SIGHUP when it is closed. Further stop signals within
/// [`SAME_STOP`] after the first are not counted. SIGUSR1 and SIGUSR2, which would otherwise end
/// the process, are ignored.
fn count_signals() -> std::io::Result<watch::Receiver<u32>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut user_1 = signal(SignalKind::user_defined1())?;
    let mut user_2 = signal(SignalKind::user_defined2())?;
    let has_terminal = std::io::stdin().is_terminal();
    let (count, counted) = watch::channel(0);
    actix_web::rt::spawn(async move {
        let mut first = None;
        loop {
            let ignored = tokio::select! {
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
                _ = quit.recv() => None,
                _ = hang_up.recv() => (!has_terminal).then_some("SIGHUP"),
                _ = user_1.recv() => Some("SIGUSR1"),
                _ = user_2.recv() => Some("SIGUSR2"),
            };
            if let Some(ignored) = ignored {
                tracing::info!(
                    signal = ignored,
                    "Signal ignored: SIGTERM stops the service, and changes of service_clients_file \
                     and of the TLS certificate are detected without a signal"
                );
            } else if first.get_or_insert_with(Instant::now).elapsed() >= SAME_STOP
                || *count.borrow() == 0
            {
                count.send_modify(|count| *count += 1);
            }
        }
    });
    Ok(counted)
}

/// Waits until at least `number` stop signals have been counted.
async fn signal_count_reaches(number: u32, mut counted: watch::Receiver<u32>) {
    if counted.wait_for(|count| *count >= number).await.is_err() {
        std::future::pending().await
    }
}
