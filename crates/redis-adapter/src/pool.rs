//! Connections to one server, and how a call goes through one of them.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use fred::error::Error as FredError;
use futures_util::future::{join, join_all};
use tee_session_domain::{RepositoryError, StoreClock, StoreInstance};
use tokio::time::{Instant, timeout_at};

use crate::{
    RedisFault, RedisSettings,
    connection::{Connection, LiveClient, ask},
};

/// At least one connection to the server that its settings name. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    connections: Arc<[Connection]>,
    next: Arc<AtomicUsize>,
}

impl Pool {
    /// Opens `size` connections on the current tokio runtime, without waiting for Redis.
    pub(crate) fn open(settings: &RedisSettings, size: usize, clock: &Arc<StoreClock>) -> Self {
        let connections =
            (0..size.max(1)).map(|_| Connection::open(settings.clone(), Arc::clone(clock)));
        Self {
            connections: connections.collect(),
            next: Arc::default(),
        }
    }

    /// Makes a call through the next connection in turn, or another one if that is down or silent.
    /// The whole call, which may take several round trips, ends at its deadline.
    pub(crate) async fn call<T, F>(
        &self,
        call: Call,
        send: impl Fn(Via) -> F,
    ) -> Result<T, RepositoryError>
    where
        F: Future<Output = Result<T, RepositoryError>>,
    {
        let connection = self.connection();
        let client = if call.is_probe {
            connection.client_to_probe(call.command)?
        } else {
            connection.client(call.command)?
        };
        let is_asking = call.is_asking;
        let answer = pin!(send(Via { client, is_asking }));
        let answered = timeout_at(call.deadline, answer).await;
        let result = answered.unwrap_or_else(|_| {
            Err(RedisFault::TimedOut {
                command: call.command,
            }
            .into())
        });
        connection.note(&result);
        result
    }

    fn connection(&self) -> &Connection {
        let first = match self.connections.len() {
            1 => 0,
            connections => self.next.fetch_add(1, Ordering::Relaxed) % connections,
        };
        let (before, from) = self.connections.split_at(first);
        from.iter()
            .chain(before)
            .find(|connection| connection.serves())
            .unwrap_or(&self.connections[first])
    }

    /// Whether a command would be sent now.
    pub(crate) fn serves(&self) -> bool {
        self.connections.iter().any(Connection::serves)
    }

    /// The server that every connection leads to.
    pub(crate) fn instance(&self) -> Option<StoreInstance> {
        let mut instances = self.connections.iter().map(Connection::instance);
        let first = instances.next()??;
        instances.all(|other| other == Some(first)).then_some(first)
    }

    /// Ends when every connection is up; `false` when one was closed.
    pub(crate) async fn wait_until_connected(&self) -> bool {
        let waiting = self
            .connections
            .iter()
            .map(Connection::wait_until_connected);
        join_all(waiting).await.into_iter().all(|up| up)
    }

    /// Takes leave of Redis, within a bound, whatever Redis does.
    pub(crate) async fn close(&self) {
        join_all(self.connections.iter().map(Connection::close)).await;
    }
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Names it in errors.
    pub(crate) command: &'static str,
    pub(crate) deadline: Instant,
    /// Nobody waits for it: it is made even while commands are held back.
    pub(crate) is_probe: bool,
    /// Of a server that is taking over the key's hash slot.
    pub(crate) is_asking: bool,
}

impl Call {
    pub(crate) fn new(command: &'static str, deadline: Instant) -> Self {
        Self {
            command,
            deadline,
            is_probe: false,
            is_asking: false,
        }
    }

    pub(crate) fn probe(self) -> Self {
        Self {
            is_probe: true,
            ..self
        }
    }

    pub(crate) fn asking(self, is_asking: bool) -> Self {
        Self { is_asking, ..self }
    }
}

/// What commands go through.
#[derive(Clone)]
pub(crate) struct Via {
    pub(crate) client: Arc<LiveClient>,
    is_asking: bool,
}

impl Via {
    /// Sends `command`, after ASKING where the server wants to hear that. Both are handed to the
    /// client in one poll: on a runtime of one thread nothing comes between them. Threads that share
    /// a pool may come between: then this command is redirected once more.
    ///
    /// `command` is pinned by the caller: an async function that owned it would hold it twice.
    pub(crate) async fn send<T>(
        &self,
        name: &'static str,
        command: Pin<&mut impl Future<Output = Result<T, FredError>>>,
    ) -> Result<T, RedisFault> {
        let answer = if self.is_asking {
            let (asked, answer) = join(Box::pin(ask(&self.client)), command).await;
            asked.and(answer)
        } else {
            command.await
        };
        answer.map_err(|error| RedisFault::new(name, &error))
    }
}
