//! Connections to one server, and how a call goes through one of them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use tee_session_domain::{RepositoryError, StoreClock, StoreInstance};
use tokio::time::Instant;

use crate::{
    RedisFault, RedisSettings,
    connection::{Asking, Client, Command, Connection, Reply},
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
    /// Nothing that `send` asks is waited for beyond the call's deadline, nor is the first attempt to
    /// connect: a process that has just started cannot know yet whether Redis is there.
    pub(crate) async fn call<T, F>(
        &self,
        call: Call,
        send: impl Fn(Via) -> F,
    ) -> Result<T, RepositoryError>
    where
        F: Future<Output = Result<T, RepositoryError>>,
    {
        let connection = self.connection();
        let client = || match call.is_probe {
            true => connection.client_to_probe(call.command),
            false => connection.client(call.command),
        };
        let client = match client() {
            Ok(client) => client,
            Err(_) => {
                connection.first_attempt(call.deadline).await;
                client()?
            }
        };
        let asking = Asking {
            until: call.deadline,
            after_asking: call.is_asking,
        };
        let result = send(Via { client, asking }).await;
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

/// What commands go through, and how long they may take.
#[derive(Clone)]
pub(crate) struct Via {
    client: Arc<Client>,
    asking: Asking,
}

impl Via {
    /// Sends `commands` at once, and waits for the reply to each.
    pub(crate) fn ask<const N: usize>(
        &self,
        commands: [Command<'_>; N],
    ) -> impl Future<Output = Result<[Reply; N], RedisFault>> + Send + use<N> {
        self.client.ask(self.asking, commands)
    }
}
