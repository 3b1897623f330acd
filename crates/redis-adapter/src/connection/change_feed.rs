//! The connection on which Redis tells of changes, and how it is known that it does.
//!
//! Redis pushes the name of every key under the prefix of sessions that is written, removed, evicted
//! or expired, whoever did it (client-side caching in its broadcasting mode). Several times a
//! second a key of the feed's own, a canary, is written as well: when its own push has come back,
//! everything that was acknowledged before it was written has been told, since pushes come in order.
//! The answer to that write is what the canary was before: if it is gone, keys have gone without a
//! push. That is how a FLUSHALL is found, within a quarter of the time that a listener can do without a
//! canary: Redis pushes it as one that names no keys, and fred drops that.

use std::{pin::pin, sync::Arc, time::Duration};

use fred::{interfaces::TrackingInterface, types::client::Invalidation};
use tee_session_domain::{ChangeListener, StoreInstance};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};

use super::{
    Call,
    breaker::Breaker,
    client::{Client, ClientTask},
    command::Command,
    handshake::{ConnectFault, Established, establish},
    sentinels::Sentinels,
    supervisor::{End, FailureLog, STABLE_AFTER, close, stop_requested, until_another_primary},
};
use crate::{
    RedisFault, RedisSettings,
    backoff::Backoff,
    record::{KEY_PREFIX, Key},
};

/// A canary that nobody renews is gone after so many seconds.
const CANARY_TTL: &[u8] = b"60";

/// Makes Redis push changes.
const TRACKING: &str = "CLIENT TRACKING";

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
            Ok((changes, instance, mut established)) => {
                let since = Instant::now();
                let server = established.server.clone();
                let another = until_another_primary(&mut sentinels, established.named.as_ref());
                let feed = Feed {
                    client: &established.client,
                    instance,
                    canary: Key::named(format_args!("-canary-{:016x}", fastrand::u64(..))),
                    command_timeout: settings.command_timeout,
                    hearing: &hearing,
                };
                let end = feed
                    .tell(changes, &mut established.task, another, &mut stopped)
                    .await;
                hearing.listener.lost();
                if end == End::Stopped {
                    close(established).await;
                    return;
                }
                hearing.state.send_replace(match &end {
                    End::Broken(fault) => state_after(fault),
                    _ => FeedState::Silent,
                });
                tracing::warn!(server, reason = %end, "Redis tells no changes any more");
                if since.elapsed() >= STABLE_AFTER {
                    backoff = Backoff::new();
                    failures = FailureLog::default();
                }
            }
            Err(fault) => {
                hearing.state.send_replace(match &fault {
                    ConnectFault::Redis(fault) => state_after(fault),
                    ConnectFault::Nameless => FeedState::Refused(fault.to_string()),
                    _ => FeedState::Silent,
                });
                failures.log(&settings, fault);
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
) -> Result<(Receiver<Invalidation>, StoreInstance, Established), ConnectFault> {
    let established = establish(settings, sentinels, &Breaker::unwatched(), true).await?;
    // Before the first push can arrive.
    let changes = established.client.fred().invalidation_rx();
    let deadline = Instant::now() + settings.command_timeout;
    let call = Call::uncounted(Arc::clone(&established.client), deadline);
    let arguments: [&[u8]; 4] = [b"ON", b"BCAST", b"PREFIX", KEY_PREFIX.as_bytes()];
    let track = Command::new(TRACKING, &arguments);
    let replied = call.send([track]).await;
    replied
        .and_then(|[reply]| reply.done(track.name))
        .map_err(ConnectFault::Redis)?;
    let instance = established.instance.ok_or(ConnectFault::Nameless)?;
    Ok((changes, instance, established))
}

/// One connection's telling.
struct Feed<'a> {
    client: &'a Arc<Client>,
    instance: StoreInstance,
    canary: Key,
    command_timeout: Duration,
    hearing: &'a Hearing,
}

impl Feed<'_> {
    async fn tell(
        self,
        changes: Receiver<Invalidation>,
        task: &mut ClientTask,
        another: impl Future<Output = ()>,
        stopped: &mut watch::Receiver<bool>,
    ) -> End {
        let returned = watch::Sender::new(0);
        // Both on this task: what is heard is told before what was asked after it.
        let mut passing_on = pin!(self.pass_on(changes, &returned));
        let mut flying = pin!(self.fly(returned.subscribe()));
        let mut another = pin!(another);
        tokio::select! {
            ended = &mut task.fred => End::of(ended),
            () = stop_requested(stopped) => End::Stopped,
            () = &mut another => End::Replaced,
            end = &mut passing_on => end,
            end = &mut flying => end,
        }
    }

    /// Passes changes on, and counts the canaries that return.
    async fn pass_on(
        &self,
        mut changes: Receiver<Invalidation>,
        returned: &watch::Sender<u64>,
    ) -> End {
        loop {
            let keys = match changes.recv().await {
                Ok(Invalidation { keys, .. }) => keys,
                Err(RecvError::Lagged(_)) => return End::Lagging,
                Err(RecvError::Closed) => return End::Vanished,
            };
            // A push holds many keys, and only all of it is what came before the canary.
            let mut has_canary = false;
            for key in keys {
                has_canary |= key.as_bytes() == self.canary.as_bytes();
                self.hearing.listener.changed(key.as_bytes());
            }
            if has_canary {
                returned.send_modify(|returned| *returned += 1);
            }
        }
    }

    /// Sends one canary after the other, and tells what their return shows.
    async fn fly(&self, mut returned: watch::Receiver<u64>) -> End {
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
                Err(_) => return End::NoCanary,
                Ok(Err(fault)) => return End::Broken(fault),
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
        End::NoCanary
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
        let deadline = Instant::now() + self.command_timeout;
        let call = Call::uncounted(Arc::clone(self.client), deadline);
        let value = number.to_string();
        let key = self.canary.as_bytes();
        let arguments: [&[u8]; 5] = [key, value.as_bytes(), b"EX", CANARY_TTL, b"GET"];
        let set = Command::new("SET", &arguments);
        let [reply] = call.send([set]).await?;
        let before = reply.any("SET")?.as_number();
        Ok(before.is_some_and(|before| u64::try_from(before).is_ok_and(|n| n + 1 == number)))
    }
}

/// Which answers are final: Redis goes on giving them until somebody changes its settings.
fn state_after(fault: &RedisFault) -> FeedState {
    let is_final = match fault {
        RedisFault::Refused { command, code } => match code.as_str() {
            "NOPERM" | "NOPROTO" => true,
            // That it knows no such command.
            "ERR" => *command == TRACKING,
            _ => false,
        },
        _ => false,
    };
    if is_final {
        FeedState::Refused(fault.to_string())
    } else {
        FeedState::Silent
    }
}
