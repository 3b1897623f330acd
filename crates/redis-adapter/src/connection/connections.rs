//! The connections to one server.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use tee_session_domain::{StoreClock, StoreInstance};
use tokio::time::Instant;

use super::{Call, Connection};
use crate::{RedisFault, RedisSettings};

/// At least one connection to the server that its settings name. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    all: Arc<[Connection]>,
    next: Arc<AtomicUsize>,
}

impl Connections {
    /// Opens `size` connections on the current tokio runtime, without waiting for Redis.
    pub(crate) fn open(settings: &RedisSettings, size: usize, clock: &Arc<StoreClock>) -> Self {
        let all = (0..size.max(1)).map(|_| Connection::open(settings.clone(), Arc::clone(clock)));
        Self {
            all: all.collect(),
            next: Arc::default(),
        }
    }

    /// Begins a call through the next connection in turn, or another one if that is down or silent.
    ///
    /// It waits for the first attempt to connect, but not beyond `deadline`: a process that has just
    /// started cannot know yet whether Redis is there.
    pub(crate) async fn call(
        &self,
        command: &'static str,
        deadline: Instant,
    ) -> Result<Call, RedisFault> {
        let begin = |connection: &Connection| connection.call(command, deadline);
        self.begin(deadline, begin).await
    }

    /// Begins a call even while others are held back: one that nobody waits for.
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

    /// Returns `true` if a command would be sent now.
    pub(crate) fn serves(&self) -> bool {
        self.all.iter().any(Connection::serves)
    }

    /// Returns the server that every connection leads to.
    pub(crate) fn instance(&self) -> Option<StoreInstance> {
        let mut instances = self.all.iter().map(Connection::instance);
        let first = instances.next()??;
        instances.all(|other| other == Some(first)).then_some(first)
    }

    /// Waits until every connection is up. Returns `false` if one was closed.
    pub(crate) async fn wait_until_connected(&self) -> bool {
        let waiting = self.all.iter().map(Connection::wait_until_connected);
        join_all(waiting).await.into_iter().all(|up| up)
    }

    /// Closes all connections, within a bound, whatever Redis does.
    pub(crate) async fn close(&self) {
        join_all(self.all.iter().map(Connection::close)).await;
    }
}
