//! A connection to Redis that is established, monitored, re-established and closed in the
//! background.
//!
//! Only this module uses the `fred` client. The rest of the crate does not depend on how
//! connections start and end.

mod batch;
mod batch_queue;
mod breaker;
mod call;
mod client;
mod command;
mod configuration_warnings;
mod connections;
mod end_reason;
mod end_request;
mod ended_flag;
mod establish;
mod failed_step;
mod fred_error;
mod handshake;
mod invalidation_feed;
mod options;
mod script;
mod sentinels;
mod server_settings;
mod statistics;
mod supervisor;
mod version;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tee_session_domain::{StoreClock, StoreInstance};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use self::{breaker::Breaker, client::Client};
pub(crate) use self::{
    call::Call,
    command::{Command, PROBE_NAME, Reply},
    connections::Connections,
    failed_step::explain,
    handshake::{ConnectFault, call_once},
    invalidation_feed::{FeedState, Subscription, maintain_feed},
    script::Script,
    sentinels::{Consensus, SentinelPoll, poll_sentinels},
    server_settings::{info, parameter},
    version::{OLDEST_VERSION, Version},
};
use crate::{RedisFault, RedisSettings};

/// Timeout for closing a connection: a Redis server that hangs must not delay a shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A handle to one connection, which a background task establishes, monitors and closes.
///
/// The background task runs on the tokio runtime on which the connection was opened. The task ends
/// when the connection is closed or the last clone of the handle is dropped. While the connection
/// is down, commands fail at once.
#[derive(Debug, Clone)]
struct Connection {
    shared: Arc<Shared>,
    /// Stop signal for the background task. The task ends when the signal is `true` or the last
    /// sender of the signal is dropped.
    stop: Arc<watch::Sender<bool>>,
}

/// State that the background task and all handles of a connection share.
#[derive(Debug)]
struct Shared {
    settings: RedisSettings,
    client: ArcSwapOption<Client>,
    /// Identity of the connected server. `None` while the connection is down, or if Redis does not
    /// report a run id.
    instance: ArcSwapOption<StoreInstance>,
    breaker: Arc<Breaker>,
    clock: Arc<StoreClock>,
    link: watch::Sender<Link>,
}

/// State of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The first attempt to connect has not ended yet.
    Untried,
    Down,
    Up,
    /// The connection was closed and will not be established again.
    Closed,
}

impl Connection {
    /// Opens a connection on the current tokio runtime, without waiting for Redis. While the
    /// connection is up, heartbeats adjust `clock` to the time of the Redis server.
    fn open(settings: RedisSettings, clock: Arc<StoreClock>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            settings,
            client: ArcSwapOption::empty(),
            instance: ArcSwapOption::empty(),
            breaker: Arc::new(Breaker::new(statistics::open_breakers())),
            clock,
            link: watch::Sender::new(Link::Untried),
        });
        tokio::spawn(supervisor::supervise(Arc::clone(&shared), stopped));
        Self {
            shared,
            stop: Arc::new(stop),
        }
    }

    /// Begins a call, which can send requests on this connection until `deadline`. `command` is the
    /// command name in the errors.
    ///
    /// # Errors
    /// - [`RedisFault::CircuitOpen`] if the circuit breaker is open.
    /// - [`RedisFault::NotConnected`] if the connection is down.
    fn call(&self, command: &'static str, deadline: Instant) -> Result<Call, RedisFault> {
        if self.shared.breaker.is_open() {
            return Err(RedisFault::CircuitOpen { command });
        }
        self.probe(command, deadline)
    }

    /// Begins a call even if the circuit breaker is open, for a request for which no client waits,
    /// such as a health probe.
    ///
    /// # Errors
    /// [`RedisFault::NotConnected`] if the connection is down.
    fn probe(&self, command: &'static str, deadline: Instant) -> Result<Call, RedisFault> {
        let client = self.shared.client.load_full();
        let client = client.ok_or(RedisFault::NotConnected { command })?;
        Ok(Call::new(client, deadline))
    }

    /// Returns the identity of the connected server. Returns `None` while the connection is down,
    /// or if Redis does not report a run id.
    fn instance(&self) -> Option<StoreInstance> {
        self.shared.instance.load().as_deref().copied()
    }

    /// Returns `true` if the connection is up and the circuit breaker is closed.
    fn serves(&self) -> bool {
        self.shared.client.load().is_some() && !self.shared.breaker.is_open()
    }

    /// Waits until the connection is up. Returns `false` if the connection was closed instead.
    async fn wait_until_connected(&self) -> bool {
        let mut link = self.shared.link.subscribe();
        let is_settled = |link: &Link| matches!(link, Link::Up | Link::Closed);
        let link = link.wait_for(is_settled).await;
        link.is_ok_and(|link| *link == Link::Up)
    }

    /// Waits until the first attempt to connect has succeeded or failed, but not beyond `deadline`.
    async fn first_attempt(&self, deadline: Instant) {
        let mut link = self.shared.link.subscribe();
        let tried = link.wait_for(|link| *link != Link::Untried);
        let _ = timeout_at(deadline, tried).await;
    }

    /// Closes the connection. Returns after at most twice [`CLOSE_TIMEOUT`], even if Redis does not
    /// reply.
    async fn close(&self) {
        let mut link = self.shared.link.subscribe();
        self.stop.send_replace(true);
        let closed = link.wait_for(|link| *link == Link::Closed);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT * 2, closed).await;
    }
}
