//! The handle to one connection: opens and closes the connection, and begins calls on it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tee_session_domain::{StoreClock, StoreInstance};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    breaker::Breaker,
    call::Call,
    shared_state::{Link, Shared},
    statistics,
    supervisor::{CLOSE_TIMEOUT, supervise},
};
use crate::{RedisFault, RedisSettings};

/// A handle to one connection, which a background task establishes, monitors and closes.
///
/// The background task runs on the tokio runtime on which the connection was opened. The task ends
/// when the connection is closed or the last clone of the handle is dropped. While the connection
/// is down, commands fail at once.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// Stop signal for the background task. The task ends when the signal is `true` or the last
    /// sender of the signal is dropped.
    stop: Arc<watch::Sender<bool>>,
}

impl Connection {
    /// Opens a connection on the current tokio runtime, without waiting for Redis. While the
    /// connection is up, heartbeats adjust `clock` to the time of the Redis server.
    pub(super) fn open(settings: RedisSettings, clock: Arc<StoreClock>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            settings,
            client: ArcSwapOption::empty(),
            instance: ArcSwapOption::empty(),
            breaker: Arc::new(Breaker::new(statistics::open_breakers())),
            clock,
            link: watch::Sender::new(Link::Untried),
        });
        tokio::spawn(supervise(Arc::clone(&shared), stopped));
        Self {
            shared,
            stop: Arc::new(stop),
        }
    }

    /// Begins a call, which can send requests on this connection until `deadline`. Errors contain
    /// the command name `command`.
    ///
    /// # Errors
    /// - [`RedisFault::CircuitOpen`] if the circuit breaker is open.
    /// - [`RedisFault::NotConnected`] if the connection is down.
    pub(super) fn call(
        &self,
        command: &'static str,
        deadline: Instant,
    ) -> Result<Call, RedisFault> {
        if self.shared.breaker.is_open() {
            return Err(RedisFault::CircuitOpen { command });
        }
        self.probe(command, deadline)
    }

    /// Begins a call even if the circuit breaker is open. The call can send requests until
    /// `deadline`. This function is for requests that no client waits for, such as health probes.
    ///
    /// # Errors
    /// [`RedisFault::NotConnected`] if the connection is down.
    pub(super) fn probe(
        &self,
        command: &'static str,
        deadline: Instant,
    ) -> Result<Call, RedisFault> {
        let client = self.shared.client.load_full();
        let client = client.ok_or(RedisFault::NotConnected { command })?;
        Ok(Call::new(client, deadline))
    }

    /// Returns the identity of the connected server, derived from its run id. Returns `None` while
    /// the connection is down, or if Redis does not report a run id.
    pub(super) fn instance(&self) -> Option<StoreInstance> {
        self.shared.instance.load().as_deref().copied()
    }

    /// Returns `true` if the connection is up and the circuit breaker is closed.
    pub(super) fn serves(&self) -> bool {
        self.shared.client.load().is_some() && !self.shared.breaker.is_open()
    }

    /// Waits until the connection is up. Returns `false` if the connection was closed instead.
    pub(super) async fn wait_until_connected(&self) -> bool {
        let mut link = self.shared.link.subscribe();
        let is_settled = |link: &Link| matches!(link, Link::Up | Link::Closed);
        let link = link.wait_for(is_settled).await;
        link.is_ok_and(|link| *link == Link::Up)
    }

    /// Waits until the first attempt to connect has succeeded or failed. Returns at `deadline` at
    /// the latest.
    pub(super) async fn first_attempt(&self, deadline: Instant) {
        let mut link = self.shared.link.subscribe();
        let tried = link.wait_for(|link| *link != Link::Untried);
        let _ = timeout_at(deadline, tried).await;
    }

    /// Closes the connection. Returns after at most twice [`CLOSE_TIMEOUT`], even if Redis does not
    /// reply.
    pub(super) async fn close(&self) {
        let mut link = self.shared.link.subscribe();
        self.stop.send_replace(true);
        let closed = link.wait_for(|link| *link == Link::Closed);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT * 2, closed).await;
    }
}
