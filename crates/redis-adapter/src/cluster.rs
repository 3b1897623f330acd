//! A cluster: the connections to each of its primaries, and the way of a key to its own.
//!
//! Each primary has connections of its own, with a supervisor and a circuit breaker of their own, so
//! that one that is lost costs nobody else; redirections are ordinary answers.

mod nodes;
mod seeds;
mod topology;
mod view;
mod watch;

use std::sync::Arc;

use futures_util::future::join_all;
use tee_session_domain::StoreClock;
use tokio::{
    sync::{Notify, watch as channel},
    time::Instant,
};

use self::{nodes::Nodes, topology::hash_slot};
pub(crate) use self::{
    seeds::{ask, seeds},
    topology::{HASH_SLOTS, Topology, probe_key},
    view::{View, best},
};
use crate::{
    RedisFault, RedisSettings, address::Address, connection::Call, error::CallError, record::Key,
};

/// A call follows so many redirections. One is usual while slots move, two when they move on.
const MAX_REDIRECTIONS: usize = 5;

/// A cluster whose topology is known and watched in the background. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    /// `true` asks the watcher to end, and so does dropping the last sender.
    stop: Arc<channel::Sender<bool>>,
}

/// What the watcher and the handles share.
#[derive(Debug)]
struct Shared {
    settings: RedisSettings,
    nodes: Nodes,
    /// Somebody met something that a change of the topology would explain.
    trouble: Notify,
    /// Whether the topology has been seen.
    is_known: channel::Sender<bool>,
}

impl Cluster {
    /// Finds the cluster that `settings` name in the background, and opens `size` connections to
    /// each of its primaries.
    pub(crate) fn open(settings: RedisSettings, size: usize, clock: Arc<StoreClock>) -> Self {
        let (stop, stopped) = channel::channel(false);
        let shared = Arc::new(Shared {
            nodes: Nodes::new(settings.clone(), size, clock),
            settings,
            trouble: Notify::new(),
            is_known: channel::Sender::new(false),
        });
        tokio::spawn(watch::watch(Arc::clone(&shared), stopped));
        Self {
            shared,
            stop: Arc::new(stop),
        }
    }

    /// Makes a call about `key` at the primary that has it, wherever it has gone.
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
            self.shared.trouble.notify_one();
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
                self.shared.trouble.notify_one();
                return outcome;
            };
            if !is_ask {
                self.shared.trouble.notify_one();
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

    /// Asks every primary. It serves when one of them does: the sessions of the others are no
    /// reason to turn away those who have theirs there.
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
        let answers = join_all(routes.primaries.iter().map(|primary| async move {
            let call = primary.node.connections.probe(command, deadline).await?;
            let outcome = send(call.clone(), primary.probe_key).await;
            call.note(&outcome);
            outcome
        }))
        .await;
        if answers.iter().any(Result::is_err) || answers.is_empty() {
            self.shared.trouble.notify_one();
        }
        answers
            .into_iter()
            .reduce(Result::or)
            .unwrap_or_else(|| Err(RedisFault::NotConnected { command }.into()))
    }

    /// Whether the primary of `key` is away, and others are not.
    pub(crate) fn is_out_of_reach(&self, key: &Key) -> bool {
        let nodes = &self.shared.nodes;
        let own = nodes.of_slot(hash_slot(key));
        !own.is_some_and(|node| node.connections.serves())
            && nodes
                .routes()
                .primaries
                .iter()
                .any(|p| p.node.connections.serves())
    }

    /// Ends when the topology is known and every primary is connected; `false` when it was closed.
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

    /// Takes leave of all its servers.
    pub(crate) async fn close(&self) {
        self.stop.send_replace(true);
        let nodes = self.shared.nodes.all();
        join_all(nodes.iter().map(|node| node.connections.close())).await;
    }
}
