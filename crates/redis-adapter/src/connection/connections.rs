//! A group of connections to one Redis server.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use tee_session_domain::{StoreClock, StoreInstance};
use tokio::time::Instant;

use super::{call::Call, handle::Connection};
use crate::{RedisFault, RedisSettings};

/// One or several connections to the server in the settings. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    all: Arc<[Connection]>,
    next: Arc<AtomicUsize>,
}

impl Connections {
    /// Opens `size` connections, but at least one, on the current tokio runtime. Does not wait for
    /// Redis.
    pub(crate) fn open(settings: &RedisSettings, size: usize, clock: &Arc<StoreClock>) -> Self {
        let all = (0..size.max(1)).map(|_| Connection::open(settings.clone(), Arc::clone(clock)));
        Self {
            all: all.collect(),
            next: Arc::default(),
        }
    }

    /// Begins a call, which can send requests until `deadline`. The connections are used in turn.
    /// Connections that cannot send commands are skipped. A connection cannot send commands if it
    /// is down or its circuit breaker is open.
    ///
    /// If no connection can send commands, chooses the next connection in turn. If the chosen
    /// connection is still making its first attempt to connect, waits for the end of the attempt,
    /// but at most until `deadline`, because the attempt may succeed.
    ///
    /// # Errors
    /// If no connection can send commands, returns the fault of the chosen connection:
    /// - [`RedisFault::CircuitOpen`] if the circuit breaker of the connection is open.
    /// - [`RedisFault::NotConnected`] if the connection is down.
    pub(crate) async fn call(
        &self,
        command: &'static str,
        deadline: Instant,
    ) -> Result<Call, RedisFault> {
        let begin = |connection: &Connection| connection.call(command, deadline);
        self.begin(deadline, begin).await
    }

    /// Begins a call even if all circuit breakers are open. This function is for requests that no
    /// client waits for, such as health probes. The connections are used in turn.
    ///
    /// # Errors
    /// [`RedisFault::NotConnected`] if every connection is down or has an open circuit breaker, and
    /// the next connection in turn is down.
    pub(crate) async fn probe(
        &self,
        command: &'static str,
        deadline: Instant,
    ) -> Result<Call, RedisFault> {
        let begin = |connection: &Connection| connection.probe(command, deadline);
        self.begin(deadline, begin).await
    }

    async fn begin(
        &self,
        deadline: Instant,
        begin: impl Fn(&Connection) -> Result<Call, RedisFault>,
    ) -> Result<Call, RedisFault> {
        let connection = self.next();
        match begin(connection) {
            Ok(call) => Ok(call),
            Err(_) => {
                connection.first_attempt(deadline).await;
                begin(connection)
            }
        }
    }

    fn next(&self) -> &Connection {
        let first = match self.all.len() {
            1 => return &self.all[0],
            connections => self.next.fetch_add(1, Ordering::Relaxed) % connections,
        };
        let (before, from) = self.all.split_at(first);
        from.iter()
            .chain(before)
            .find(|connection| connection.serves())
            .unwrap_or(&self.all[first])
    }

    /// Returns `true` if at least one connection is up and its circuit breaker is closed.
    pub(crate) fn serves(&self) -> bool {
        self.all.iter().any(Connection::serves)
    }

    /// Returns the identity of the server. Returns `None` if a connection is down, if the
    /// connections lead to different servers, or if Redis does not report a run id.
    pub(crate) fn instance(&self) -> Option<StoreInstance> {
        let mut instances = self.all.iter().map(Connection::instance);
        let first = instances.next()??;
        instances.all(|other| other == Some(first)).then_some(first)
    }

    /// Waits until every connection is up. Returns `false` if one of the connections was closed
    /// instead.
    pub(crate) async fn wait_until_connected(&self) -> bool {
        let waiting = self.all.iter().map(Connection::wait_until_connected);
        join_all(waiting).await.into_iter().all(|up| up)
    }

    /// Closes all connections. Returns within a fixed time, even if Redis does not reply.
    pub(crate) async fn close(&self) {
        join_all(self.all.iter().map(Connection::close)).await;
    }
}
