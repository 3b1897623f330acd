//! The invalidation feed: a connection on which Redis reports changed session keys, and a check
//! that Redis reports all of them.
//!
//! Redis pushes an invalidation for every session key that is written, deleted, evicted or expired.
//! An invalidation contains the name of the key. Changes by all clients are reported (client-side
//! caching in broadcasting mode).
//!
//! As a check, the feed writes a key of its own (the canary) four times within `max_silence`, the
//! maximum time between two confirmations of the feed. Invalidations arrive in order. Once the
//! invalidation of the canary has arrived, the invalidations of all writes that Redis acknowledged
//! before the canary have arrived as well.
//!
//! The reply to each write of the canary contains the previous value of the canary. If the previous
//! value is missing, Redis has removed keys, and the feed may have received no invalidations of
//! these keys. An example is `FLUSHALL`: Redis announces it by an invalidation without key names,
//! and fred drops that invalidation. The next write of the canary detects the `FLUSHALL`, at most a
//! quarter of `max_silence` later.

use std::{pin::pin, sync::Arc, time::Duration};

use fred::{interfaces::TrackingInterface, types::client::Invalidation};
use tee_session_domain::{InvalidationListener, StoreInstance};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};

use super::{
    breaker::Breaker,
    call::Call,
    client::{Client, ClientTask},
    command::{Command, Reply},
    end_reason::End,
    establish::{Established, establish},
    failure_log::FailureLog,
    handshake::ConnectFault,
    script::Script,
    sentinels::Sentinels,
    supervisor::{STABLE_AFTER, close, stop_requested, until_another_primary},
};
use crate::{
    RedisFault, RedisSettings,
    backoff::Backoff,
    error::UNKNOWN_COMMAND,
    record::{KEY_PREFIX, Key},
};

/// TTL of the canary, in seconds. The canary is a key that the invalidation feed writes as a check.
/// After the feed has ended, the canary expires.
const CANARY_TTL: &[u8] = b"60";

/// Lua script that writes the canary: a key that the invalidation feed writes regularly, to check
/// that it still receives invalidations. `KEYS[1]` is the canary, `ARGV[1]` the value, and
/// `ARGV[2]` the TTL in seconds. The script returns the previous value.
///
/// With the flag `allow-oom`, the script may write while the memory of Redis is full. A plain `SET`
/// would fail in that case, and the feed would treat the failure as a lost connection. Without the
/// feed, every session would have to be loaded from Redis.
const WRITE_CANARY: Script =
    Script::freeing("return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2], 'GET')");

/// Redis command that turns on invalidations (notifications of changed keys).
const TRACKING: &str = "CLIENT TRACKING";

/// Number of writes of the canary within the time `max_silence`. The canary is a key that the
/// invalidation feed writes as a check.
const CANARIES_PER_SILENCE: u32 = 4;

/// State of the invalidation feed, which receives the names of changed keys from Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedState {
    /// The invalidation feed is being established, or was lost.
    Down,
    /// The invalidation feed is established: Redis sends invalidations, and a check of the feed has
    /// succeeded at least once.
    Up,
    /// The invalidation feed cannot be established until the Redis configuration changes, for
    /// example because a permission is missing. Contains the reason.
    Refused(String),
}

/// Subscription to the invalidation feed, which receives the names of changed keys from Redis.
/// Contains the listener, the time limit, and the state of the feed.
pub(crate) struct Subscription {
    pub(crate) listener: Arc<dyn InvalidationListener>,
    /// Maximum time between two calls of [`InvalidationListener::feed_confirmed`]. Usually, four
    /// calls are made within this time. If the feed is not confirmed for this time,
    /// [`InvalidationListener::feed_lost`] is called.
    pub(crate) max_silence: Duration,
    pub(crate) state: watch::Sender<FeedState>,
}

/// Keeps the invalidation feed (notifications of changed keys) established until the value of
/// `stopped` is `true`. After each loss of the feed, opens a new connection.
pub(crate) async fn maintain_feed(
    settings: RedisSettings,
    subscription: Subscription,
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
            Ok((invalidations, instance, mut established)) => {
                let since = Instant::now();
                let server = established.server.clone();
                let another = until_another_primary(&mut sentinels, established.named.as_ref());
                let feed = Feed {
                    client: &established.client,
                    instance,
                    canary: Key::named(format_args!("-canary-{:016x}", fastrand::u64(..))),
                    command_timeout: settings.command_timeout,
                    subscription: &subscription,
                };
                let end = feed
                    .run(invalidations, &mut established.task, another, &mut stopped)
                    .await;
                subscription.listener.feed_lost();
                if end == End::Stopped {
                    close(established).await;
                    return;
                }
                subscription.state.send_replace(match &end {
                    End::Broken(fault) => state_after(fault),
                    _ => FeedState::Down,
                });
                tracing::warn!(server, reason = %end, "Redis invalidation feed lost");
                if since.elapsed() >= STABLE_AFTER {
                    backoff = Backoff::new();
                    failures = FailureLog::default();
                }
            }
            Err(fault) => {
                subscription.state.send_replace(match &fault {
                    ConnectFault::Redis(fault) => state_after(fault),
                    ConnectFault::UnknownInstance => FeedState::Refused(fault.to_string()),
                    _ => FeedState::Down,
                });
                failures.log(Sentinels::attempted(sentinels.as_ref(), &settings), fault);
            }
        }
        tokio::select! {
            () = sleep(backoff.next_pause()) => {}
            () = stop_requested(&mut stopped) => return,
        }
    }
}

/// Connects to Redis, and turns on notifications of changed keys (`CLIENT TRACKING`).
///
/// # Errors
/// - [`ConnectFault::UnknownInstance`] if the server does not report its run id.
/// - Any other fault if the connection or `CLIENT TRACKING` fails.
async fn begin(
    settings: &RedisSettings,
    sentinels: &mut Option<Sentinels>,
) -> Result<(Receiver<Invalidation>, StoreInstance, Established), ConnectFault> {
    let established = establish(settings, sentinels, &Breaker::without_metrics(), true).await?;
    // The receiver is created before `CLIENT TRACKING` is sent, so that no invalidation is missed.
    let invalidations = established.client.fred().invalidation_rx();
    let deadline = Instant::now() + settings.command_timeout;
    let call = Call::uncounted(Arc::clone(&established.client), deadline);
    let arguments: [&[u8]; 4] = [b"ON", b"BCAST", b"PREFIX", KEY_PREFIX.as_bytes()];
    let track = Command::new(TRACKING, &arguments);
    let replied = call.send([track]).await;
    replied
        .and_then(|[reply]| reply.done(track.name))
        .map_err(ConnectFault::Redis)?;
    let instance = established.instance.ok_or(ConnectFault::UnknownInstance)?;
    Ok((invalidations, instance, established))
}

/// The invalidation feed (notifications of changed keys) on one established connection.
struct Feed<'a> {
    client: &'a Arc<Client>,
    instance: StoreInstance,
    canary: Key,
    command_timeout: Duration,
    subscription: &'a Subscription,
}

impl Feed<'_> {
    async fn run(
        self,
        invalidations: Receiver<Invalidation>,
        task: &mut ClientTask,
        another: impl Future<Output = ()>,
        stopped: &mut watch::Receiver<bool>,
    ) -> End {
        let canaries_received = watch::Sender::new(0);
        // Both futures run in one task. Before a canary is confirmed, the listener has therefore
        // handled all invalidations up to the invalidation of the canary.
        let mut forwarding = pin!(self.forward_invalidations(invalidations, &canaries_received));
        let mut sending = pin!(self.send_canaries(canaries_received.subscribe()));
        let mut another = pin!(another);
        tokio::select! {
            ended = &mut task.fred => End::of(ended),
            () = stop_requested(stopped) => End::Stopped,
            () = &mut another => End::Replaced,
            end = &mut forwarding => end,
            end = &mut sending => end,
        }
    }

    /// Passes each invalidation to the listener. Counts the invalidations of the canary, a key that
    /// the feed writes as a check, in `canaries_received`. Runs until the feed must end, and
    /// returns the reason.
    async fn forward_invalidations(
        &self,
        mut invalidations: Receiver<Invalidation>,
        canaries_received: &watch::Sender<u64>,
    ) -> End {
        loop {
            let keys = match invalidations.recv().await {
                Ok(Invalidation { keys, .. }) => keys,
                Err(RecvError::Lagged(_)) => return End::Lagging,
                Err(RecvError::Closed) => return End::TaskEnded,
            };
            // One message of Redis may contain many keys, not in the order of the writes. The
            // canary is counted only after all keys of the message were passed to the listener.
            let mut has_canary = false;
            for key in keys {
                has_canary |= key.as_bytes() == self.canary.as_bytes();
                self.subscription.listener.invalidate(key.as_bytes());
            }
            if has_canary {
                canaries_received.send_modify(|count| *count += 1);
            }
        }
    }

    /// Writes the canary, a key that serves as a check of the feed, at intervals of a quarter of
    /// `max_silence`. After each write, reports to the listener whether the feed is confirmed or
    /// lost. Runs until the feed must end, and returns the reason.
    async fn send_canaries(&self, mut canaries_received: watch::Receiver<u64>) -> End {
        let mut ticks = interval(self.subscription.max_silence / CANARIES_PER_SILENCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1.. {
            ticks.tick().await;
            let sent_at = Instant::now();
            let before = *canaries_received.borrow();
            let confirmed = async {
                let had_previous = self.write_canary(number).await?;
                // `wait_for` cannot fail, because the sender lives longer than this future.
                let _ = canaries_received.wait_for(|count| *count > before).await;
                Ok(had_previous)
            };
            match timeout_at(sent_at + self.subscription.max_silence, confirmed).await {
                Err(_) => return End::CanaryTimeout,
                Ok(Err(fault)) => return End::Broken(fault),
                Ok(Ok(true)) => self.feed_confirmed(sent_at),
                // A missing previous value is normal for the first canary.
                Ok(Ok(false)) if number == 1 => self.feed_confirmed(sent_at),
                Ok(Ok(false)) => {
                    tracing::warn!(
                        "Redis removed keys without sending invalidations, as FLUSHALL does: all \
                         cached copies are dropped"
                    );
                    self.subscription.listener.feed_lost();
                }
            }
        }
        End::CanaryTimeout
    }

    fn feed_confirmed(&self, sent_at: Instant) {
        let listener = &self.subscription.listener;
        listener.feed_confirmed(self.instance, sent_at.into_std());
        let is_new = self.subscription.state.send_if_modified(|state| {
            let was_not_up = *state != FeedState::Up;
            *state = FeedState::Up;
            was_not_up
        });
        if is_new {
            tracing::info!("Redis invalidation feed up");
        }
    }

    /// Writes the canary, a key that serves as a check of the feed. Returns `true` if the value of
    /// the previous write was still stored.
    async fn write_canary(&self, number: u64) -> Result<bool, RedisFault> {
        let deadline = Instant::now() + self.command_timeout;
        let call = Call::uncounted(Arc::clone(self.client), deadline);
        let (key, value) = ([self.canary.as_bytes()], number.to_string());
        let arguments = [value.as_bytes(), CANARY_TTL];
        let mut reply = WRITE_CANARY.run(&call, &key, &arguments).await?;
        let is_refused =
            |text: &[u8]| text.starts_with(b"NOPERM") || text.starts_with(b"ERR unknown command");
        if matches!(&reply, Reply::Error(text) if is_refused(text)) {
            // The script cannot be used: the Redis user lacks the permission for `EVAL`, or the
            // server has renamed it. A plain `SET` replaces the script.
            let arguments = [key[0], arguments[0], b"EX", CANARY_TTL, b"GET"];
            [reply] = call.send([Command::new("SET", &arguments)]).await?;
        }
        let before = reply.any("SET")?.as_number();
        Ok(before.is_some_and(|before| u64::try_from(before).is_ok_and(|n| n + 1 == number)))
    }
}

/// Returns the state of the invalidation feed after `fault`. If Redis will return the same error
/// until its configuration changes, the state is [`FeedState::Refused`]. Otherwise the state is
/// [`FeedState::Down`].
fn state_after(fault: &RedisFault) -> FeedState {
    let is_final = match fault {
        RedisFault::Refused { command, code } => match code.as_str() {
            "NOPERM" | "NOPROTO" => true,
            // The server does not know `CLIENT TRACKING`.
            "ERR" | UNKNOWN_COMMAND => *command == TRACKING,
            _ => false,
        },
        _ => false,
    };
    if is_final {
        FeedState::Refused(fault.to_string())
    } else {
        FeedState::Down
    }
}
