//! A private Redis Cluster for tests.

use std::{ops::Range, time::Duration};

use fred::{types::Value, util::redis_keyslot};
use futures_util::future::join_all;

use crate::{RedisProcess, eventually, redis_process::WITHOUT_PERSISTENCE};

/// Number of hash slots of every Redis Cluster.
const HASH_SLOTS: usize = 16_384;

/// Time without a reply after which the cluster considers a server down, in milliseconds.
const NODE_TIMEOUT: &str = "1000";

/// Timeout for the started servers to form a complete cluster.
const FORMED_WITHIN: Duration = Duration::from_secs(30);

/// A Redis Cluster. The primaries share the hash slots evenly in ascending order, and each primary
/// has the same number of replicas.
pub struct RedisCluster {
    /// All servers of the cluster: first the primaries, then the first replica of each primary,
    /// then the second replica of each primary, and so on.
    nodes: Vec<RedisProcess>,
    primaries: usize,
    /// Number of replicas of each primary of the cluster.
    replicas: usize,
}

impl RedisCluster {
    /// Starts a cluster without persistence, with `primaries` primaries and `replicas` replicas of
    /// each primary. Waits until all hash slots are served and each replica is connected to its
    /// primary.
    ///
    /// If some hash slots become unavailable, the cluster still serves all remaining hash slots.
    pub async fn start(primaries: usize, replicas: usize) -> Self {
        Self::start_with(primaries, replicas, &WITHOUT_PERSISTENCE).await
    }

    /// Starts a cluster with `primaries` primaries and `replicas` replicas of each primary. Each
    /// server is started with the command-line options in `options`. Waits until all hash slots are
    /// served and each replica is connected to its primary.
    pub async fn start_with(primaries: usize, replicas: usize, options: &[&str]) -> Self {
        let options = &with_cluster_options(options);
        let nodes = (0..primaries * (1 + replicas))
            .map(|_| async move { RedisProcess::start_for_cluster(options).await });
        let cluster = Self {
            nodes: join_all(nodes).await,
            primaries,
            replicas,
        };
        cluster.form().await;
        cluster
    }

    async fn form(&self) {
        let first = &self.nodes[0];
        for (n, node) in self.nodes.iter().enumerate() {
            let epoch = (n + 1).to_string();
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            if n < self.primaries {
                let slots = self.slots_of(n);
                let (from, to) = (slots.start.to_string(), (slots.end - 1).to_string());
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &from, &to])
                    .await;
            }
            if n > 0 {
                self.introduce(first, node).await;
            }
        }
        eventually(FORMED_WITHIN, async || {
            self.all_know(self.nodes.len()).await
        })
        .await;
        for n in self.primaries..self.nodes.len() {
            let primary = self.id(n % self.primaries).await;
            let replicate = ["CLUSTER", "REPLICATE", &primary];
            self.nodes[n].command(&replicate).await;
        }
        eventually(FORMED_WITHIN, async || self.is_complete().await).await;
    }

    /// Adds a server without hash slots to the cluster. Returns the number of the server, for
    /// [`node`](Self::node).
    pub async fn add_empty(&mut self) -> usize {
        let node =
            RedisProcess::start_for_cluster(&with_cluster_options(&WITHOUT_PERSISTENCE)).await;
        self.introduce(&self.nodes[0], &node).await;
        self.nodes.push(node);
        eventually(FORMED_WITHIN, async || {
            self.all_know(self.nodes.len()).await && self.is_complete().await
        })
        .await;
        self.nodes.len() - 1
    }

    /// Removes the server with this number, which must have no hash slots.
    ///
    /// Waits until all servers know that the removed server has no hash slots. Then makes the other
    /// servers forget the removed server, and resets the removed server.
    pub async fn remove(&self, number: usize) {
        let id = self.id(number).await;
        eventually(FORMED_WITHIN, async || {
            let mut slots = String::new();
            for node in &self.nodes {
                slots += &format!("{:?}", node.command(&["CLUSTER", "SLOTS"]).await);
            }
            !slots.contains(&id)
        })
        .await;
        for (n, node) in self.nodes.iter().enumerate() {
            if n != number {
                node.command(&["CLUSTER", "FORGET", &id]).await;
            }
        }
        self.nodes[number]
            .command(&["CLUSTER", "RESET", "SOFT"])
            .await;
    }

    async fn introduce(&self, known: &RedisProcess, new: &RedisProcess) {
        let (port, bus) = (new.port().to_string(), new.bus_port().to_string());
        let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
        known.command(&meet).await;
    }

    /// Returns the URL of the cluster for the service. The URL contains the addresses of the first
    /// and the last server.
    #[must_use]
    pub fn url(&self) -> String {
        let last = self.nodes.len() - 1;
        format!(
            "redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}",
            self.nodes[0].port(),
            self.nodes[last].port()
        )
    }

    /// Returns the server with this number. Numbers start at 0, and the primaries have the lowest
    /// numbers.
    #[must_use]
    pub fn node(&self, number: usize) -> &RedisProcess {
        &self.nodes[number]
    }

    /// Returns a mutable reference to the server with this number, for example to kill or restart
    /// the server.
    pub fn node_mut(&mut self, number: usize) -> &mut RedisProcess {
        &mut self.nodes[number]
    }

    /// Returns the range of hash slots that the primary with this number had at the start.
    #[must_use]
    pub fn slots_of(&self, primary: usize) -> Range<usize> {
        let each = HASH_SLOTS.div_ceil(self.primaries);
        primary * each..((primary + 1) * each).min(HASH_SLOTS)
    }

    /// Returns the number of the primary that had the hash slot of `key` at the start.
    #[must_use]
    pub fn primary_of(&self, key: &str) -> usize {
        Self::slot_of(key) / HASH_SLOTS.div_ceil(self.primaries)
    }

    /// Returns the hash slot that `key` belongs to.
    #[must_use]
    pub fn slot_of(key: &str) -> usize {
        redis_keyslot(key.as_bytes()).into()
    }

    /// Starts to move the hash slot `slot` from server `from` to server `to`. For a key that server
    /// `from` no longer has, server `from` replies with an ASK redirection to server `to`.
    pub async fn begin_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from).await, self.id(to).await);
        let importing = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id];
        self.nodes[to].command(&importing).await;
        let migrating = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id];
        self.nodes[from].command(&migrating).await;
    }

    /// Moves the keys of the hash slot `slot` that are still on server `from` to server `to`.
    pub async fn move_keys(&self, slot: usize, from: usize, to: usize) {
        let slot = slot.to_string();
        let keys = ["CLUSTER", "GETKEYSINSLOT", &slot, "1000"];
        let keys = self.nodes[from].command(&keys).await.into_array();
        let port = self.nodes[to].port().to_string();
        for key in keys.iter().filter_map(Value::as_string) {
            let migrate = ["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"];
            self.nodes[from].command(&migrate).await;
        }
    }

    /// Ends the move of the hash slot `slot`. Server `to` then owns the hash slot, and server
    /// `from` replies with a MOVED redirection.
    pub async fn end_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to).await);
        for node in [to, from] {
            let assign = ["CLUSTER", "SETSLOT", &slot, "NODE", &id];
            self.nodes[node].command(&assign).await;
        }
    }

    /// Returns `true` if the server with this number considers itself a primary.
    pub async fn is_primary(&self, number: usize) -> bool {
        let role = self.nodes[number].command(&["ROLE"]).await.into_array();
        role[0].as_str().is_some_and(|role| role == "master")
    }

    async fn id(&self, number: usize) -> String {
        let id = self.nodes[number].command(&["CLUSTER", "MYID"]).await;
        id.as_string().expect("an id")
    }

    async fn info(&self, number: usize) -> String {
        let info = self.nodes[number].command(&["CLUSTER", "INFO"]).await;
        info.as_string().expect("a text")
    }

    /// Returns `true` if every server knows that the cluster has `servers` servers.
    async fn all_know(&self, servers: usize) -> bool {
        for n in 0..self.nodes.len() {
            let known = format!("cluster_known_nodes:{servers}\r\n");
            if !self.info(n).await.contains(&known) {
                return false;
            }
        }
        true
    }

    /// Returns `true` if every server reports that all hash slots are served, and every replica is
    /// connected to its primary.
    async fn is_complete(&self) -> bool {
        for n in 0..self.nodes.len() {
            let info = self.info(n).await;
            if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_ok:16384") {
                return false;
            }
            if (self.primaries..self.primaries * (1 + self.replicas)).contains(&n) {
                let role = self.nodes[n].command(&["ROLE"]).await.into_array();
                if role.get(3).and_then(Value::as_string).as_deref() != Some("connected") {
                    return false;
                }
            }
        }
        true
    }
}

/// Returns `options`, extended by the options that every cluster server needs.
fn with_cluster_options<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let cluster_options = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        NODE_TIMEOUT,
        "--cluster-require-full-coverage",
        "no",
        // Without this option, a primary that has lost its last hash slot would become a replica.
        "--cluster-allow-replica-migration",
        "no",
        "--repl-diskless-sync-delay",
        "0",
    ];
    [options, &cluster_options].concat()
}
