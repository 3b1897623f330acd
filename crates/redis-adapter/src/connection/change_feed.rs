//! The connection on which Redis tells of changes, and how it is known that it does.
//!
//! Redis pushes the name of every key under the prefix of sessions that is written, removed, evicted
//! or expired, whoever did it (client-side caching in its broadcasting mode). Several times a
//! second a key of the feed's own, a canary, is written as well: when its own push has come back,
//! everything that was acknowledged before it was written has been told, since pushes come in order.
//! The answer to that write is what the canary was before: if it is gone, keys have gone without a
//! push. A FLUSHALL is pushed as one that names no keys.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use tee_session_domain::{ChangeListener, StoreInstance};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};

use super::{
    client::{Asking, Client, Command},
    establish::{ClientTask, ConnectFault, Established, establish},
    reply::Reply,
    sentinels::Sentinels,
    supervisor::{End, FailureLog, STABLE_AFTER, leave, stop_requested, until_another_primary},
};
use crate::{
    RedisFault, RedisSettings,
    backoff::Backoff,
    record::{KEY_PREFIX, Key},
};

/// A canary that nobody renews is gone after so many seconds.
const CANARY_TTL: &[u8] = b"60";

/// So many pushes may wait to be passed on.
const PUSHES: usize = 1_024;

/// So many canaries fly in the time that a listener can do without one.
const CANARIES: u32 = 4;

/// What is known of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedState {
    /// Nothing is told yet, or not any more.
    Silent,
    /// Changes are told.
    Telling,
    /// Redis will not tell them, for this reason.
    Refused(String),
}

/// Where a feed's changes go.
pub(crate) struct Hearing {
    pub(crate) listener: Arc<dyn ChangeListener>,
    /// It hears [`ChangeListener::told`] several times in this time, or else
    /// [`ChangeListener::lost`].
    pub(crate) max_silence: Duration,
    pub(crate) state: watch::Sender<FeedState>,
}

/// Tells changes until `stopped` says so.
pub(crate) async fn feed(
    settings: RedisSettings,
    hearing: Hearing,
    mut stopped: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new();
    let mut sentinels = Sentinels::of(&settings);
    let mut failures = FailureLog::default();
    loop {
        let attempt = tokio::select! {
            attempt = begin(&settings, &mut sentinels) => attempt,
            () = stop_requested(&mut stopped) => return,
        };
        match attempt {
            Ok((changes, instance, established)) => {
                let since = Instant::now();
                let server = established.server.clone();
                let another = until_another_primary(&mut sentinels, established.named);
                let feed = Feed {
                    client: established.client,
                    instance,
                    canary: Key::named(format_args!("-canary-{:016x}", fastrand::u64(..))),
                    command_timeout: settings.command_timeout,
                    hearing: &hearing,
                };
                let end = feed
                    .tell(changes, established.task, another, &mut stopped)
                    .await;
                hearing.listener.lost();
                if let FeedEnd::Stopped { client, task } = end {
                    leave(&client, task).await;
                    return;
                }
                hearing.state.send_replace(end.state());
                tracing::warn!(server, reason = %end, "Redis tells no changes any more");
                if since.elapsed() >= STABLE_AFTER {
                    backoff = Backoff::new();
                    failures = FailureLog::default();
                }
            }
            Err(fault) => {
                hearing.state.send_replace(fault.state());
                failures.log(&settings.server_name(), &fault);
            }
        }
        tokio::select! {
            () = sleep(backoff.next_pause()) => {}
            () = stop_requested(&mut stopped) => return,
        }
    }
}

/// Connects, and asks Redis to tell changes.
async fn begin(
    settings: &RedisSettings,
    sentinels: &mut Option<Sentinels>,
) -> Result<(mpsc::Receiver<Vec<Reply>>, StoreInstance, Established), FeedFault> {
    let (pushes, changes) = mpsc::channel(PUSHES);
    let established = establish(settings, sentinels, Some(pushes)).await?;
    let asking = Asking::until(Instant::now() + settings.command_timeout);
    let arguments: [&[u8]; 4] = [b"ON", b"BCAST", b"PREFIX", KEY_PREFIX.as_bytes()];
    let track = Command::new("CLIENT TRACKING", &arguments);
    let asked = established.client.ask(asking, [track]).await;
    asked
        .and_then(|[reply]| reply.done(track.name))
        .map_err(FeedFault::Tracking)?;
    let instance = established.instance.ok_or(FeedFault::Nameless)?;
    Ok((changes, instance, established))
}

/// One connection's telling.
struct Feed<'a> {
    client: Client,
    instance: StoreInstance,
    canary: Key,
    command_timeout: Duration,
    hearing: &'a Hearing,
}

impl Feed<'_> {
    async fn tell(
        self,
        changes: mpsc::Receiver<Vec<Reply>>,
        mut task: ClientTask,
        another: impl Future<Output = ()>,
        stopped: &mut watch::Receiver<bool>,
    ) -> FeedEnd {
        let returned = watch::Sender::new(0);
        let end = {
            // Both on this task: what is heard is told before what was asked after it.
            let mut passing_on = pin!(self.pass_on(changes, &returned));
            let mut flying = pin!(self.fly(returned.subscribe()));
            let mut another = pin!(another);
            tokio::select! {
                ended = &mut task.0 => Some(FeedEnd::Connection(End::of(ended))),
                () = stop_requested(stopped) => None,
                () = &mut another => Some(FeedEnd::Connection(End::Replaced)),
                end = &mut passing_on => Some(end),
                end = &mut flying => Some(end),
            }
        };
        end.unwrap_or(FeedEnd::Stopped {
            client: self.client,
            task,
        })
    }

    /// Passes changes on, and counts the canaries that return.
    async fn pass_on(
        &self,
        mut changes: mpsc::Receiver<Vec<Reply>>,
        returned: &watch::Sender<u64>,
    ) -> FeedEnd {
        while let Some(push) = changes.recv().await {
            let [Reply::Bulk(kind), changed] = push.as_slice() else {
                continue;
            };
            if kind != b"invalidate" {
                continue;
            }
            let Reply::List(keys) = changed else {
                tracing::warn!("Redis was emptied: all copies are dropped");
                self.hearing.listener.lost();
                continue;
            };
            // A push holds many keys, and only all of it is what came before the canary.
            let mut has_canary = false;
            for key in keys {
                if let Reply::Bulk(key) = key {
                    has_canary |= key == self.canary.as_bytes();
                    self.hearing.listener.changed(key);
                }
            }
            if has_canary {
                returned.send_modify(|returned| *returned += 1);
            }
        }
        FeedEnd::Connection(End::Vanished)
    }

    /// Sends one canary after the other, and tells what their return shows.
    async fn fly(&self, mut returned: watch::Receiver<u64>) -> FeedEnd {
        let mut ticks = interval(self.hearing.max_silence / CANARIES);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1.. {
            ticks.tick().await;
            let asked = Instant::now();
            let before = *returned.borrow();
            let back = async {
                let was_there = self.write_canary(number).await?;
                // The sender lives as long as this does.
                let _ = returned.wait_for(|returned| *returned > before).await;
                Ok(was_there)
            };
            match timeout_at(asked + self.hearing.max_silence, back).await {
                Err(_) => return FeedEnd::NoCanary,
                Ok(Err(fault)) => return FeedEnd::Failed(fault),
                Ok(Ok(true)) => self.told(asked),
                // The first has nobody before it.
                Ok(Ok(false)) if number == 1 => self.told(asked),
                Ok(Ok(false)) => {
                    tracing::warn!(
                        "Keys have vanished from Redis without a word: all copies are dropped"
                    );
                    self.hearing.listener.lost();
                }
            }
        }
        FeedEnd::NoCanary
    }

    fn told(&self, asked: Instant) {
        let listener = &self.hearing.listener;
        listener.told(self.instance, asked.into_std());
        let begins = self.hearing.state.send_if_modified(|state| {
            let was_silent = *state != FeedState::Telling;
            *state = FeedState::Telling;
            was_silent
        });
        if begins {
            tracing::info!("Redis tells of changes");
        }
    }

    /// `SET canary number EX ttl GET`; whether the canary of before was still there.
    async fn write_canary(&self, number: u64) -> Result<bool, RedisFault> {
        let asking = Asking::until(Instant::now() + self.command_timeout);
        let value = number.to_string();
        let key = self.canary.as_bytes();
        let arguments: [&[u8]; 5] = [key, value.as_bytes(), b"EX", CANARY_TTL, b"GET"];
        let set = Command::new("SET", &arguments);
        let [reply] = self.client.ask(asking, [set]).await?;
        let before = reply.any("SET")?.as_number();
        Ok(before.is_some_and(|before| u64::try_from(before).is_ok_and(|n| n + 1 == number)))
    }
}

/// How the telling on one connection ended.
enum FeedEnd {
    /// It is to be closed; the client still works.
    Stopped {
        client: Client,
        task: ClientTask,
    },
    Connection(End),
    NoCanary,
    Failed(RedisFault),
}

impl FeedEnd {
    fn state(&self) -> FeedState {
        match self {
            Self::Failed(fault) => state_after(fault, &["NOPERM"]),
            _ => FeedState::Silent,
        }
    }
}

impl fmt::Display for FeedEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { .. } => f.write_str("closed"),
            Self::Connection(end) => write!(f, "{end}"),
            Self::NoCanary => f.write_str("a change of its own was not told in time"),
            Self::Failed(fault) => write!(f, "{fault}"),
        }
    }
}

/// Why Redis tells no changes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedFault {
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    #[error(transparent)]
    Tracking(RedisFault),
    #[error("INFO, which names the server, may not be asked for")]
    Nameless,
}

impl FeedFault {
    fn state(&self) -> FeedState {
        match self {
            Self::Connect(ConnectFault::Redis(fault)) => state_after(fault, &["NOPERM", "NOPROTO"]),
            // That it knows no such command.
            Self::Tracking(fault) => state_after(fault, &["NOPERM", "ERR"]),
            Self::Connect(_) => FeedState::Silent,
            Self::Nameless => FeedState::Refused(self.to_string()),
        }
    }
}

/// What Redis answers with one of `final_codes` it will go on answering until somebody changes its
/// settings.
fn state_after(fault: &RedisFault, final_codes: &[&str]) -> FeedState {
    match fault {
        RedisFault::Refused { code, .. } if final_codes.contains(&code.as_str()) => {
            FeedState::Refused(fault.to_string())
        }
        _ => FeedState::Silent,
    }
}
