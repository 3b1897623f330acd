//! The background task of a connection (supervisor): establishes and monitors the connection, and
//! re-establishes the connection after a loss.

use std::{pin::pin, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    call::Call,
    client::Client,
    command::Command,
    configuration_warnings,
    end_reason::End,
    establish::{Established, establish},
    failure_log::FailureLog,
    sentinels::Sentinels,
    shared_state::{Link, Shared},
    statistics::Statistics,
};
use crate::{RedisFault, address::Address, backoff::Backoff};

/// Interval between heartbeats. A heartbeat checks the connection and reads the time of the Redis
/// server.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Timeout for the reply to a heartbeat. The setting for the command timeout does not affect
/// heartbeats.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of consecutive heartbeats without a reply after which the connection is ended. The
/// service then assumes that the server is unreachable or hangs.
const MAX_SILENT_HEARTBEATS: u32 = 2;

/// Minimum lifetime of a connection that counts as stable. After the loss of a stable connection,
/// the pauses between attempts to connect start again with the shortest pause.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Timeout for closing a connection. A Redis server that hangs must not delay a shutdown.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Keeps the connection of `shared` established until the value of `stopped` is `true` or its
/// sender is dropped.
pub(super) async fn supervise(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut backoff = Backoff::new();
    let mut sentinels = Sentinels::of(&shared.settings);
    let mut failures = FailureLog::default();
    let statistics = Statistics::new();
    loop {
        let attempt = tokio::select! {
            attempt = establish(&shared.settings, &mut sentinels, &shared.breaker, false) => attempt,
            () = stop_requested(&mut stopped) => break,
        };
        let pause = match attempt {
            Ok(mut established) => {
                let since = Instant::now();
                let server = established.server.clone();
                statistics.note_up();
                let end = serve(&shared, &mut established, &mut sentinels, &mut stopped).await;
                statistics.note_down();
                shared.instance.store(None);
                shared.client.store(None);
                if end == End::Stopped {
                    close(established).await;
                    break;
                }
                drop(established);
                shared.link.send_replace(Link::Down);
                statistics.note_loss(&end);
                tracing::warn!(server, reason = %end, "Redis connection lost");
                failures = FailureLog::default();
                if since.elapsed() >= STABLE_AFTER {
                    backoff = Backoff::new();
                }
                backoff.next_pause()
            }
            Err(fault) => {
                shared.link.send_replace(Link::Down);
                statistics.note_failed_attempt();
                let attempted = Sentinels::attempted(sentinels.as_ref(), &shared.settings);
                failures.log(attempted, fault);
                backoff.next_pause()
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop_requested(&mut stopped) => break,
        }
    }
    shared.link.send_replace(Link::Closed);
}

/// Makes the established client available for commands, and monitors the connection. Returns the
/// reason when the connection ends.
async fn serve(
    shared: &Shared,
    established: &mut Established,
    sentinels: &mut Option<Sentinels>,
    stopped: &mut watch::Receiver<bool>,
) -> End {
    let Established {
        client,
        task,
        server,
        named,
        instance,
    } = established;
    let mut another = pin!(until_another_primary(sentinels, named.as_ref()));
    // The first heartbeat is sent before the client is available, because the first command may
    // already need the time of Redis.
    let mut silent = u32::from(!heartbeat(shared, client).await);
    shared.breaker.note_reply();
    shared.client.store(Some(Arc::clone(client)));
    shared.instance.store((*instance).map(Arc::new));
    shared.link.send_replace(Link::Up);
    tracing::info!(server, "Redis connection established");
    let (checked, is_cluster_node) = (Arc::clone(client), shared.settings.is_cluster_node);
    tokio::spawn(async move { configuration_warnings::check(&checked, is_cluster_node).await });
    let mut beats = interval(HEARTBEAT_INTERVAL);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats.reset();
    loop {
        // The end of the fred task must be noticed at once, not only after the current heartbeat.
        let alive = tokio::select! {
            ended = &mut task.fred => return End::of(ended),
            () = stop_requested(stopped) => return End::Stopped,
            () = &mut another => return End::Replaced,
            end = client.end_request.found() => return end,
            alive = async {
                tokio::select! {
                    _ = beats.tick() => {}
                    // The circuit breaker has opened. Commands are rejected until Redis replies
                    // to a heartbeat.
                    () = shared.breaker.opened() => {}
                    // A session record was corrupt, perhaps because the reply belonged to another
                    // request. In that case, the next reply does not match the heartbeat either,
                    // and the mismatch ends the connection.
                    () = client.heartbeat_requested.notified() => {}
                }
                heartbeat(shared, client).await
            } => alive,
        };
        if alive {
            shared.breaker.note_reply();
        } else if shared.breaker.is_open() {
            beats.reset_immediately();
        }
        silent = if alive { 0 } else { silent + 1 };
        if silent >= MAX_SILENT_HEARTBEATS {
            return End::Silent;
        }
    }
}

/// Reads the time of Redis and adjusts the clock in `shared` to that time. Returns `true` if Redis
/// replied, even with an error. Returns `false` if the reply did not arrive in time or had an
/// unexpected type.
async fn heartbeat(shared: &Shared, client: &Arc<Client>) -> bool {
    let sent_at = Instant::now();
    match server_time(client).await {
        Ok(reported) => {
            shared.clock.correct(reported, sent_at.elapsed());
            true
        }
        Err(RedisFault::Refused { code, .. }) => {
            tracing::debug!(
                code,
                "Redis refuses TIME: the clock of this machine is used"
            );
            true
        }
        Err(RedisFault::Unexpected { .. }) => {
            client.end_request.report(End::OutOfStep);
            false
        }
        Err(_) => false,
    }
}

/// Waits until the sentinels start a failover, or name a primary other than `named`. Never returns
/// if the deployment has no sentinels.
pub(super) async fn until_another_primary(
    sentinels: &mut Option<Sentinels>,
    named: Option<&Address>,
) {
    match (sentinels, named) {
        (Some(sentinels), Some(named)) => sentinels.until_another(named).await,
        _ => std::future::pending().await,
    }
}

/// Reads the time of the Redis server (`TIME`). Fails if no reply arrives within
/// [`HEARTBEAT_TIMEOUT`].
async fn server_time(client: &Arc<Client>) -> Result<OffsetDateTime, RedisFault> {
    const COMMAND: &str = "TIME";
    let call = Call::uncounted(Arc::clone(client), Instant::now() + HEARTBEAT_TIMEOUT);
    let [reply] = call.send([Command::new(COMMAND, &[])]).await?;
    let parts = reply.list(COMMAND)?;
    let [Some(seconds), Some(micros)] = [0, 1].map(|part| parts.get(part)?.as_number()) else {
        return Err(RedisFault::Unexpected { command: COMMAND });
    };
    let now = time::Duration::seconds(seconds).saturating_add(time::Duration::microseconds(micros));
    Ok(OffsetDateTime::UNIX_EPOCH.saturating_add(now))
}

/// Closes the connection with `QUIT`. If closing takes longer than [`CLOSE_TIMEOUT`], aborts the
/// connection.
pub(super) async fn close(mut established: Established) {
    let quit = async {
        established.client.quit().await;
        let _ = (&mut established.task.fred).await;
    };
    let _ = timeout(CLOSE_TIMEOUT, quit).await;
}

/// Waits until the value of `stopped` is `true` or its sender is dropped.
pub(super) async fn stop_requested(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}
