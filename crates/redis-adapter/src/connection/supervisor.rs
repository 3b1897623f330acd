//! The task that makes a connection, watches it, and makes it anew.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use fred::error::{Error as FredError, ErrorKind};
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    task::JoinError,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    CLOSE_TIMEOUT, Call, Link, Shared, advice,
    client::{Client, fault},
    command::Command,
    handshake::{ConnectFault, Established, establish},
    reach::explain,
    sentinels::Sentinels,
    statistics::Statistics,
};
use crate::{RedisFault, RedisSettings, address::Address, backoff::Backoff};

/// How often a connection is asked for a sign of life, and the store for its time.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A heartbeat without an answer for so long is a silent one, however long commands may take.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// So many heartbeats in a row without an answer end a client: its peer is gone, or hangs.
const MAX_SILENT_HEARTBEATS: u32 = 2;

/// A connection that lasted for so long was a good one: the next pause starts small again.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(5);

/// While an outage lasts, failed attempts are logged so often.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps `shared` connected until `stopped` says so.
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
                failures.log(&shared.settings, fault);
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

/// Publishes the client and watches over it until its end.
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
    // The store's time is known before the first command can need it.
    let mut silent = u32::from(!heartbeat(shared, client).await);
    shared.breaker.note_answer();
    shared.client.store(Some(Arc::clone(client)));
    shared.instance.store((*instance).map(Arc::new));
    shared.link.send_replace(Link::Up);
    tracing::info!(server, "Redis connection established");
    let (advised, is_cluster_node) = (Arc::clone(client), shared.settings.is_cluster_node);
    tokio::spawn(async move { advice::give(&advised, is_cluster_node).await });
    let mut beats = interval(HEARTBEAT_INTERVAL);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats.reset();
    loop {
        // The task is watched during the heartbeat too: its end must not go unseen for that long.
        let alive = tokio::select! {
            ended = &mut task.fred => return End::of(ended),
            () = stop_requested(stopped) => return End::Stopped,
            () = &mut another => return End::Replaced,
            end = client.trouble.found() => return end,
            alive = async {
                tokio::select! {
                    _ = beats.tick() => {}
                    // Commands wait for this answer: it is asked for at once, and again and again.
                    () = shared.breaker.opened() => {}
                    // A damaged record, or one that was another's: the answer to this tells.
                    () = client.doubt.notified() => {}
                }
                heartbeat(shared, client).await
            } => alive,
        };
        if alive {
            shared.breaker.note_answer();
        } else if shared.breaker.is_open() {
            beats.reset_immediately();
        }
        silent = if alive { 0 } else { silent + 1 };
        if silent >= MAX_SILENT_HEARTBEATS {
            return End::Silent;
        }
    }
}

/// Asks the store for its time and notes it. `false` when nothing came back in time; an error
/// that the store sends is a sign of life.
async fn heartbeat(shared: &Shared, client: &Arc<Client>) -> bool {
    let asked = Instant::now();
    match server_time(client).await {
        Ok(reported) => {
            shared.clock.correct(reported, asked.elapsed());
            true
        }
        Err(RedisFault::Refused { code, .. }) => {
            tracing::debug!(
                code,
                "Redis does not tell its time: the machine's clock is used"
            );
            true
        }
        Err(RedisFault::Unexpected { .. }) => {
            client.trouble.report(End::OutOfStep);
            false
        }
        Err(_) => false,
    }
}

/// Ends when the sentinels, if there are any, have or want another primary.
pub(super) async fn until_another_primary(
    sentinels: &mut Option<Sentinels>,
    named: Option<&Address>,
) {
    match (sentinels, named) {
        (Some(sentinels), Some(named)) => sentinels.until_another(named).await,
        _ => std::future::pending().await,
    }
}

/// Asks the store for its time: a heartbeat that is good for something. It has a time limit of its
/// own, however long commands may take.
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

/// Closes the connection in an orderly way. Whatever remains of the client ends with its task.
pub(super) async fn close(mut established: Established) {
    let farewell = async {
        established.client.quit().await;
        let _ = (&mut established.task.fred).await;
    };
    let _ = timeout(CLOSE_TIMEOUT, farewell).await;
}

/// Ends when the connection is to be closed, or nobody is left who could use it.
pub(super) async fn stop_requested(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// How the life of a client ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The connection is to be closed; the client still works.
    Stopped,
    /// No heartbeat was answered.
    Silent,
    /// A reply did not fit its request: no later reply can be trusted.
    OutOfStep,
    /// Redis replied with this code, with which it is of no use.
    Refused(&'static str),
    /// The sentinels have another primary, or are choosing one.
    Replaced,
    /// The connection broke, or Redis closed it.
    Broken(RedisFault),
    /// fred's task ended without a reason.
    Vanished,
    /// The feed did not receive a change of its own.
    NoCanary,
    /// The feed could not keep up.
    Lagging,
}

impl End {
    pub(super) fn of(ended: Result<Result<(), FredError>, JoinError>) -> Self {
        match ended {
            // What arrived is no RESP.
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Parse) => {
                Self::OutOfStep
            }
            Ok(Err(error)) => Self::Broken(fault("connection", &error)),
            Ok(Ok(())) | Err(_) => Self::Vanished,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("closed"),
            Self::Silent => f.write_str("no answer to several heartbeats"),
            Self::OutOfStep => f.write_str("an answer did not fit its question"),
            Self::Refused(code) => write!(f, "Redis said {code}"),
            Self::Replaced => {
                f.write_str("the sentinels have replaced the primary, or are about to")
            }
            Self::Broken(fault) => write!(f, "{fault}"),
            Self::Vanished => f.write_str("its task ended"),
            Self::NoCanary => f.write_str("a change of its own was not told in time"),
            Self::Lagging => f.write_str("changes came faster than they could be passed on"),
        }
    }
}

/// Logs the first failed attempt of an outage, and then one now and then with their number.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    attempts: u64,
    last_logged: Option<Instant>,
}

impl FailureLog {
    pub(super) fn log(&mut self, settings: &RedisSettings, fault: ConnectFault) {
        self.attempts += 1;
        let is_due = self
            .last_logged
            .is_none_or(|last| last.elapsed() >= FAILURE_LOG_INTERVAL);
        if is_due {
            self.last_logged = Some(Instant::now());
            let (settings, attempts) = (settings.clone(), self.attempts);
            // The next attempt does not wait for the explanation.
            tokio::spawn(async move {
                let reason = explain(&settings, fault).await;
                tracing::warn!(
                    server = settings.server_name(),
                    attempts,
                    %reason,
                    "Redis connection attempt failed: trying again"
                );
            });
        }
    }
}
