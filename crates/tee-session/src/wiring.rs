//! Wiring: settings, adapter, server.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::rt::System;
use anyhow::{Context, bail};
use tee_session_api_server::{Application, NearCache, start_logging};
use tee_session_domain::{SessionToken, TokenFormat};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_redis_adapter::{RedisChanges, RedisRepository, RedisSettings};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{settings::Settings, traces::Traces};

/// The last spans are sent within this.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(1);

/// So long the start waits to learn whether Redis tells of changes.
const CHANGES_WITHIN: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT, and ends at once at a second one.
pub(crate) fn serve(mut settings: Settings) -> anyhow::Result<()> {
    let traces = settings.traces.take();
    let traces = traces.as_ref().map(Traces::start).transpose()?;
    let layers = traces.iter().map(Traces::layer).collect();
    let _log = start_logging(settings.log_level, settings.log_format, layers)
        .context("logging cannot be started")?;
    // Of the time to stop, spans that wait to be sent have a part.
    let shutdown_timeout = settings.api.shutdown_timeout;
    let ending = LAST_SPANS_WITHIN.min(shutdown_timeout / 4);
    if traces.is_some() {
        settings.api.shutdown_timeout = shutdown_timeout - ending;
    }
    let served = run(settings);
    if let (Some(traces), Ok(())) = (traces, &served) {
        traces.end(ending);
    }
    served
}

/// Serves on a system of its own.
fn run(settings: Settings) -> anyhow::Result<()> {
    let _randomness = Randomness::prepare();
    System::new().block_on(async move {
        let signals = count_signals().context("signals cannot be received")?;
        let address = settings.api.address;
        let redis = settings.redis.clone();
        let application = build(settings)
            .with_context(|| format!("the server cannot be started on {address}"))?;
        let _changes = match (application.near_cache(), redis) {
            (Some(cache), Some(redis)) => Some(tell_changes(&redis, cache).await?),
            _ => None,
        };
        tokio::select! {
            ended = application.run(at_least(1, signals.clone())) => {
                ended.context("the server failed")
            }
            () = at_least(2, signals) => bail!("ended at once by a second signal"),
        }
    })
}

/// Has Redis tell `cache` of changes. Redis may come later; one that never will is refused now.
async fn tell_changes(
    redis: &RedisSettings,
    cache: Arc<NearCache>,
) -> anyhow::Result<RedisChanges> {
    let max_stale = cache.max_stale();
    let changes = RedisChanges::tell(redis, max_stale, cache);
    let refused = "near_cache cannot be used with this Redis: give it the permissions, or set \
         near_cache to false";
    if !changes
        .wait_until_telling(CHANGES_WITHIN)
        .await
        .context(refused)?
    {
        tracing::warn!(
            "Redis does not tell of changes yet: the near cache stays unused until it does"
        );
    }
    Ok(changes)
}

/// The first random bytes of a process take some thirty milliseconds, in which a worker would stand
/// still at its first login. They are drawn here, by a thread that nobody waits for but the end of
/// the process: what it works with is taken away then.
struct Randomness(Option<JoinHandle<()>>);

impl Randomness {
    fn prepare() -> Self {
        let draw = || drop(SessionToken::generate_as(TokenFormat::Opaque));
        Self(Some(thread::spawn(draw)))
    }
}

impl Drop for Randomness {
    fn drop(&mut self) {
        let _ = self.0.take().map(JoinHandle::join);
    }
}

fn build(settings: Settings) -> std::io::Result<Application> {
    if let Some(redis) = settings.redis {
        Application::build(settings.api, move || RedisRepository::connect(&redis))
    } else {
        tracing::warn!(
            max_sessions = settings.memory_max_sessions,
            "Sessions live in the memory of this process and end with it: set redis_url to keep \
             them, and to run more than one instance"
        );
        let repository = MemoryRepository::with_capacity(settings.memory_max_sessions);
        Application::build(settings.api, move || repository.clone())
    }
}

/// Counts SIGTERM and SIGINT from now on.
fn count_signals() -> std::io::Result<watch::Receiver<u32>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (count, counted) = watch::channel(0);
    actix_web::rt::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            count.send_modify(|count| *count += 1);
        }
    });
    Ok(counted)
}

async fn at_least(number: u32, mut counted: watch::Receiver<u32>) {
    if counted.wait_for(|count| *count >= number).await.is_err() {
        std::future::pending().await
    }
}
