//! The servers behind a repository: one (whoever is the primary now), or those of a cluster.

use std::{sync::Arc, time::Duration};

use tee_session_domain::{RepositoryError, StoreClock, StoreInstance};
use tokio::time::timeout;

use crate::{
    RedisFault, RedisSettings,
    cluster::Cluster,
    connection::PROBE_NAME,
    pool::{Call, Pool, Via},
    record::Key,
};

/// Where calls go. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) enum Servers {
    One(Pool),
    Cluster(Cluster),
}

impl Servers {
    /// Opens `size` connections to each server on the current tokio runtime, without waiting for
    /// Redis.
    pub(crate) fn open(settings: &RedisSettings, size: usize, clock: &Arc<StoreClock>) -> Self {
        if settings.is_clustered() {
            let clock = Arc::clone(clock);
            Self::Cluster(Cluster::open(settings.clone(), size, clock))
        } else {
            Self::One(Pool::open(settings, size, clock))
        }
    }

    /// Makes a call about `key`. `send` is called anew for each server that the call is redirected
    /// to.
    pub(crate) async fn call<T, F>(
        &self,
        key: &Key,
        call: Call,
        send: impl Fn(Via) -> F,
    ) -> Result<T, RepositoryError>
    where
        F: Future<Output = Result<T, RepositoryError>>,
    {
        match self {
            Self::One(pool) => pool.call(call, send).await,
            Self::Cluster(cluster) => cluster.call(key, call, send).await,
        }
    }

    /// Makes a call about a key where no session stands, even while commands are held back.
    pub(crate) async fn probe<F>(
        &self,
        call: Call,
        send: impl Fn(Via, Key) -> F,
    ) -> Result<(), RepositoryError>
    where
        F: Future<Output = Result<(), RepositoryError>>,
    {
        match self {
            Self::One(pool) => {
                let send = |via| send(via, Key::named(PROBE_NAME));
                pool.call(call.probe(), send).await
            }
            Self::Cluster(cluster) => cluster.probe(call, send).await,
        }
    }

    /// Whether the server of `key` is away, and others are not.
    pub(crate) fn is_out_of_reach(&self, key: &Key) -> bool {
        match self {
            Self::One(_) => false,
            Self::Cluster(cluster) => cluster.is_out_of_reach(key),
        }
    }

    /// The one server that calls go to.
    pub(crate) fn instance(&self) -> Option<StoreInstance> {
        match self {
            Self::One(pool) => pool.instance(),
            Self::Cluster(_) => None,
        }
    }

    pub(crate) fn is_clustered(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Waits until every connection is up.
    pub(crate) async fn wait_until_connected(
        &self,
        within: Duration,
    ) -> Result<(), RepositoryError> {
        let all = async {
            match self {
                Self::One(pool) => pool.wait_until_connected().await,
                Self::Cluster(cluster) => cluster.wait_until_connected().await,
            }
        };
        match timeout(within, all).await {
            Ok(true) => Ok(()),
            _ => Err(RedisFault::NotConnected { command: "PING" }.into()),
        }
    }

    /// Takes leave of Redis, within a bound, whatever Redis does.
    pub(crate) async fn close(&self) {
        match self {
            Self::One(pool) => pool.close().await,
            Self::Cluster(cluster) => cluster.close().await,
        }
    }
}
