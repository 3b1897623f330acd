//! A Redis Cluster of a test's own.

use std::{ops::Range, time::Duration};

use fred::{types::Value, util::redis_keyslot};
use futures_util::future::join_all;

use crate::{RedisProcess, eventually, redis_process::WITHOUT_PERSISTENCE};

const HASH_SLOTS: usize = 16_384;

/// A server that is silent for so long is taken for dead, in milliseconds.
const NODE_TIMEOUT: &str = "1000";

const FORMED_WITHIN: Duration = Duration::from_secs(30);

/// Primaries that share the hash slots evenly, in their order, and the replicas of each.
pub struct RedisCluster {
    /// First the primaries, then the replicas: the first of each, then the second of each.
    nodes: Vec<RedisProcess>,
    primaries: usize,
    /// Of each primary.
    replicas: usize,
}

impl RedisCluster {
    /// Starts `primaries` primaries with `replicas` replicas each, without persistence, and waits
    /// until they have found each other. One lost part does not stop the others.
    pub async fn start(primaries: usize, replicas: usize) -> Self {
        Self::start_with(primaries, replicas, &WITHOUT_PERSISTENCE).await
    }

    /// The same, each server with these options of its command line.
    pub async fn start_with(primaries: usize, replicas: usize, options: &[&str]) -> Self {
        let options = &of_cluster(options);
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
        eventually(FORMED_WITHIN, async || self.is_whole().await).await;
    }

    /// Adds a server that has no slots yet, and gives its number.
    pub async fn add_empty(&mut self) -> usize {
        let node = RedisProcess::start_for_cluster(&of_cluster(&WITHOUT_PERSISTENCE)).await;
        self.introduce(&self.nodes[0], &node).await;
        self.nodes.push(node);
        eventually(FORMED_WITHIN, async || {
            self.all_know(self.nodes.len()).await && self.is_whole().await
        })
        .await;
        self.nodes.len() - 1
    }

    /// Takes a server without slots out, when all know that it has none: the others forget it, and it
    /// forgets them.
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

    /// Its URL: any two of its servers.
    #[must_use]
    pub fn url(&self) -> String {
        let last = self.nodes.len() - 1;
        format!(
            "redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}",
            self.nodes[0].port(),
            self.nodes[last].port()
        )
    }

    /// The server with this number: the primaries come first.
    #[must_use]
    pub fn node(&self, number: usize) -> &RedisProcess {
        &self.nodes[number]
    }

    /// The same, to hurt it.
    pub fn node_mut(&mut self, number: usize) -> &mut RedisProcess {
        &mut self.nodes[number]
    }

    /// The hash slots that a primary had at the start.
    #[must_use]
    pub fn slots_of(&self, primary: usize) -> Range<usize> {
        let each = HASH_SLOTS.div_ceil(self.primaries);
        primary * each..((primary + 1) * each).min(HASH_SLOTS)
    }

    /// The primary that had `key` at the start.
    #[must_use]
    pub fn primary_of(&self, key: &str) -> usize {
        Self::slot_of(key) / HASH_SLOTS.div_ceil(self.primaries)
    }

    /// The hash slot of `key`.
    #[must_use]
    pub fn slot_of(key: &str) -> usize {
        redis_keyslot(key.as_bytes()).into()
    }

    /// Begins to move `slot`: from now on the new server takes the keys that the old one does not
    /// have (ASK).
    pub async fn begin_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from).await, self.id(to).await);
        let importing = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id];
        self.nodes[to].command(&importing).await;
        let migrating = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id];
        self.nodes[from].command(&migrating).await;
    }

    /// Moves the keys of `slot` that are still at the old server.
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

    /// Ends the move: the slot is the new server's, and the old one says so (MOVED).
    pub async fn end_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to).await);
        for node in [to, from] {
            let assign = ["CLUSTER", "SETSLOT", &slot, "NODE", &id];
            self.nodes[node].command(&assign).await;
        }
    }

    /// Whether this server is a primary now, in its own view.
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

    async fn all_know(&self, servers: usize) -> bool {
        for n in 0..self.nodes.len() {
            let known = format!("cluster_known_nodes:{servers}\r\n");
            if !self.info(n).await.contains(&known) {
                return false;
            }
        }
        true
    }

    /// Every server sees every slot served, and every replica is in step.
    async fn is_whole(&self) -> bool {
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

fn of_cluster<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let of_cluster = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        NODE_TIMEOUT,
        "--cluster-require-full-coverage",
        "no",
        // A primary that has given its last slot away would turn into a replica.
        "--cluster-allow-replica-migration",
        "no",
        "--repl-diskless-sync-delay",
        "0",
    ];
    [options, &of_cluster].concat()
}
