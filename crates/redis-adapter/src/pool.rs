//! The servers behind a repository, one (the present primary) or those of a cluster, and the way of a call
//! to the one that has its key.

use std::{sync::Arc, time::Duration};

use tee_session_domain::{StoreClock, StoreInstance};
use tokio::time::{Instant, timeout};

use crate::{
    RedisFault, RedisSettings,
    cluster::Cluster,
    connection::{Call, Connections, PROBE_NAME},
    error::CallError,
    record::Key,
};

/// Where calls go. Clones share the connections.
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

    /// Makes a call about `key`, which ends by `deadline`; errors name it `command`. A cluster may
    /// redirect it, and then `send` is called again for another server.
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

    /// Makes a call about a key where no session is stored, even while other calls are held back.
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

    /// Returns `true` if the server of `key` is unavailable, and others are not.
    pub(crate) fn is_out_of_reach(&self, key: &Key) -> bool {
        match self {
            Self::One(_) => false,
            Self::Cluster(cluster) => cluster.is_out_of_reach(key),
        }
    }

    /// Returns the one server that calls go to.
    pub(crate) fn instance(&self) -> Option<StoreInstance> {
        match self {
            Self::One(connections) => connections.instance(),
            Self::Cluster(_) => None,
        }
    }

    pub(crate) fn is_clustered(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Waits until every connection is up.
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

    /// Closes all connections, within a bound, whatever Redis does.
    pub(crate) async fn close(&self) {
        match self {
            Self::One(connections) => connections.close().await,
            Self::Cluster(cluster) => cluster.close().await,
        }
    }
}
