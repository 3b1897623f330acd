//! Client of a Redis Cluster. The client connects to each primary, and sends each request to the
//! primary that owns the hash slot of the key.
//!
//! Each primary has separate connections and circuit breakers. The failure of one primary therefore
//! does not affect requests to other primaries. If a server redirects a request (`MOVED`, `ASK`),
//! the request is sent to the server that the redirection names.

mod cluster_report;
mod nodes;
mod seed_addresses;
mod shared_state;
mod topology;
mod topology_poll;

use std::sync::Arc;

use futures_util::future::join_all;
use tee_session_domain::StoreClock;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub(crate) use self::{
    cluster_report::{ClusterReport, best_topology},
    seed_addresses::{request_report, seeds},
    topology::{HASH_SLOTS, Topology, probe_key},
};
use self::{
    nodes::Nodes, shared_state::Shared, topology::hash_slot, topology_poll::follow_topology,
};
use crate::{
    RedisFault, RedisSettings, address::Address, connection::Call, error::CallError, record::Key,
};

/// Maximum number of redirections (`MOVED`, `ASK`) that a request follows. While hash slots move, a
/// request usually gets one redirection, or two if a slot moves again.
const MAX_REDIRECTIONS: usize = 5;

/// Handle to a Redis Cluster. A background task monitors the topology of the cluster. Clones of the
/// handle share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    /// Stop signal for the background task. The task ends when the signal is `true` or the last
    /// sender of the signal is dropped.
    stop: Arc<watch::Sender<bool>>,
}

impl Cluster {
    /// Opens `size` connections to each primary of the cluster. The topology is loaded and
    /// monitored in the background.
    pub(crate) fn open(settings: RedisSettings, size: usize, clock: Arc<StoreClock>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            nodes: Nodes::new(settings.clone(), size, clock),
            settings,
            refresh_requested: Notify::new(),
            is_known: watch::Sender::new(false),
        });
        tokio::spawn(follow_topology(Arc::clone(&shared), stopped));
        Self {
            shared,
            stop: Arc::new(stop),
        }
    }

    /// Uses `send` to send a request to the primary that owns the hash slot of `key`. If a server
    /// redirects the request (`MOVED`, `ASK`), sends the request to the server that the redirection
    /// names.
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
        let found = self.shared.nodes.of_slot(hash_slot(key));
        let Some(mut node) = found else {
            self.shared.refresh_requested.notify_one();
            return Err(RedisFault::NotConnected { command }.into());
        };
        let mut after_asking = false;
        let mut redirections = 0;
        loop {
            let outcome = match node.connections.call(command, deadline).await {
                Ok(call) => {
                    let call = call.after_asking(after_asking);
                    let outcome = send(call.clone()).await;
                    call.note(&outcome);
                    outcome
                }
                Err(fault) => Err(fault.into()),
            };
            let Err(CallError::Redis(fault)) = &outcome else {
                return outcome;
            };
            let RedisFault::Redirected { to, is_ask, .. } = fault else {
                self.shared.refresh_requested.notify_one();
                return outcome;
            };
            if !is_ask {
                self.shared.refresh_requested.notify_one();
            }
            let Some(to) = Address::parse(to, &node.address.host) else {
                return outcome;
            };
            redirections += 1;
            if redirections > MAX_REDIRECTIONS {
                return outcome;
            }
            after_asking = *is_ask;
            node = self.shared.nodes.at(&to);
            node.ready(deadline).await;
        }
    }

    /// Sends a health probe to every primary. Succeeds if at least one primary replies without an
    /// error, because the sessions on that primary can be served.
    pub(crate) async fn probe<F>(
        &self,
        command: &'static str,
        deadline: Instant,
        send: impl Fn(Call, Key) -> F,
    ) -> Result<(), CallError>
    where
        F: Future<Output = Result<(), CallError>>,
    {
        let routes = Arc::clone(&self.shared.nodes.routes());
        let send = &send;
        let outcomes = join_all(routes.primaries.iter().map(|primary| async move {
            let call = primary.node.connections.probe(command, deadline).await?;
            let outcome = send(call.clone(), primary.probe_key).await;
            call.note(&outcome);
            outcome
        }))
        .await;
        if outcomes.iter().any(Result::is_err) || outcomes.is_empty() {
            self.shared.refresh_requested.notify_one();
        }
        outcomes
            .into_iter()
            .reduce(Result::or)
            .unwrap_or_else(|| Err(RedisFault::NotConnected { command }.into()))
    }

    /// Returns `true` if the primary that owns the hash slot of `key` is unavailable while at least
    /// one other primary is available.
    pub(crate) fn is_partition_unavailable(&self, key: &Key) -> bool {
        let nodes = &self.shared.nodes;
        let own = nodes.of_slot(hash_slot(key));
        !own.is_some_and(|node| node.connections.serves())
            && nodes
                .routes()
                .primaries
                .iter()
                .any(|p| p.node.connections.serves())
    }

    /// Waits until the topology is known and every primary is connected. Returns `false` if the
    /// connections to the cluster were closed.
    pub(crate) async fn wait_until_connected(&self) -> bool {
        let mut is_known = self.shared.is_known.subscribe();
        if is_known.wait_for(|known| *known).await.is_err() {
            return false;
        }
        let routes = Arc::clone(&self.shared.nodes.routes());
        let primaries = routes.primaries.iter();
        let waiting = primaries.map(|primary| primary.node.connections.wait_until_connected());
        join_all(waiting).await.into_iter().all(|up| up)
    }

    /// Stops the background task, and closes the connections to all servers of the cluster.
    pub(crate) async fn close(&self) {
        self.stop.send_replace(true);
        let nodes = self.shared.nodes.all();
        join_all(nodes.iter().map(|node| node.connections.close())).await;
    }
}
