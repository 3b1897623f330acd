//! Connections of a repository to one server or to the servers of a cluster. Behind Sentinel, the
//! one server is the current primary. Each call is sent to the server that owns the Redis key of
//! the call.

use std::{sync::Arc, time::Duration};

use tee_session_domain::{StoreClock, StoreInstance};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    RedisFault, RedisSettings,
    cluster::Cluster,
    connection::{Call, Connections, PROBE_NAME},
    error::CallError,
    record::Key,
};

/// Pause before a command is repeated after the error TRYAGAIN. A cluster returns TRYAGAIN while a
/// hash slot moves, if some keys of the command are already on the new server and the others are
/// still on the old server.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Connections to one Redis server or to the primaries of a cluster. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    One(Connections),
    Cluster(Cluster),
}

impl Pool {
    /// Opens `size` connections to each server on the current tokio runtime, without waiting for
    /// Redis.
    pub(crate) fn open(settings: &RedisSettings, size: usize, clock: &Arc<StoreClock>) -> Self {
        if settings.is_clustered() {
            let clock = Arc::clone(clock);
            Self::Cluster(Cluster::open(settings.clone(), size, clock))
        } else {
            Self::One(Connections::open(settings, size, clock))
        }
    }

    /// Runs `send` on a connection to the server that owns `key`. The call ends at `deadline` at
    /// the latest.
    ///
    /// If a cluster redirects the call, `send` runs again for the server that the redirection
    /// names. If no command can be sent, the error contains the command name `command`.
    pub(crate) async fn call<T, F>(
        &self,
        key: &Key,
        command: &'static str,
        deadline: Instant,
        send: impl Fn(Call) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        match self {
            Self::One(connections) => {
                let call = connections.call(command, deadline).await?;
                let outcome = send(call.clone()).await;
                call.note(&outcome);
                outcome
            }
            Self::Cluster(cluster) => Box::pin(cluster.call(key, command, deadline, send)).await,
        }
    }

    /// Runs `send` like [`call`](Self::call), for commands with several keys that have one hash
    /// slot. If Redis replies with the error TRYAGAIN, because the hash slot is moving to another
    /// server, runs `send` again, until `deadline` at the latest.
    pub(crate) async fn call_with_keys<T, F>(
        &self,
        key: &Key,
        command: &'static str,
        deadline: Instant,
        send: impl Fn(Call) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        loop {
            let outcome = self.call(key, command, deadline, &send).await;
            let is_slot_moving = outcome
                .as_ref()
                .is_err_and(|error| error.has_code("TRYAGAIN"));
            if is_slot_moving && Instant::now() + RETRY_PAUSE < deadline {
                sleep(RETRY_PAUSE).await;
            } else {
                return outcome;
            }
        }
    }

    /// Checks whether Redis replies by running `send` with a Redis key under which no session is
    /// stored. Runs `send` even if the circuit breaker is open. In a cluster, runs `send` for each
    /// primary, and succeeds if at least one primary replies without an error.
    pub(crate) async fn probe<F>(
        &self,
        command: &'static str,
        deadline: Instant,
        send: impl Fn(Call, Key) -> F,
    ) -> Result<(), CallError>
    where
        F: Future<Output = Result<(), CallError>>,
    {
        match self {
            Self::One(connections) => {
                let call = connections.probe(command, deadline).await?;
                let outcome = send(call.clone(), Key::named(PROBE_NAME)).await;
                call.note(&outcome);
                outcome
            }
            Self::Cluster(cluster) => cluster.probe(command, deadline, send).await,
        }
    }

    /// Returns `true` if the server that owns `key` is unavailable while at least one other server
    /// of the cluster is available. Always returns `false` outside a cluster.
    pub(crate) fn is_partition_unavailable(&self, key: &Key) -> bool {
        match self {
            Self::One(_) => false,
            Self::Cluster(cluster) => cluster.is_partition_unavailable(key),
        }
    }

    /// Returns the identity of the connected server process. Returns `None` if the identity is
    /// unknown, and always in a cluster. Without the identity, no near cache keeps sessions.
    pub(crate) fn instance(&self) -> Option<StoreInstance> {
        match self {
            Self::One(connections) => connections.instance(),
            Self::Cluster(_) => None,
        }
    }

    pub(crate) fn is_clustered(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Waits until every connection is up. Returns an error if a connection is still down after the
    /// time `within`, or if the connections were closed.
    pub(crate) async fn wait_until_connected(&self, within: Duration) -> Result<(), CallError> {
        let all = async {
            match self {
                Self::One(connections) => connections.wait_until_connected().await,
                Self::Cluster(cluster) => cluster.wait_until_connected().await,
            }
        };
        match timeout(within, all).await {
            Ok(true) => Ok(()),
            _ => Err(RedisFault::NotConnected { command: "PING" }.into()),
        }
    }

    /// Closes all connections. Returns within a fixed time, even if Redis hangs.
    pub(crate) async fn close(&self) {
        match self {
            Self::One(connections) => connections.close().await,
            Self::Cluster(cluster) => cluster.close().await,
        }
    }
}
