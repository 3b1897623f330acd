//! Wiring: settings, adapter, server.

use actix_web::rt::System;
use anyhow::{Context, bail};
use tee_session_api_server::{Application, start_logging};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_redis_adapter::RedisRepository;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::settings::Settings;

/// Serves until SIGTERM or SIGINT, and ends at once at a second one.
pub(crate) fn serve(settings: Settings) -> anyhow::Result<()> {
    let _log = start_logging(settings.log_level, settings.log_format)
        .context("logging cannot be started")?;
    System::new().block_on(async move {
        let signals = count_signals().context("signals cannot be received")?;
        let address = settings.api.address;
        let application = build(settings)
            .with_context(|| format!("the server cannot be started on {address}"))?;
        tokio::select! {
            ended = application.run(at_least(1, signals.clone())) => {
                ended.context("the server failed")
            }
            () = at_least(2, signals) => bail!("ended at once by a second signal"),
        }
    })
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
