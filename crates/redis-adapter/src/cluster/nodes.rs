//! The servers of a cluster to which this process has connections, and the hash slots that each
//! server owns.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use tee_session_domain::StoreClock;
use tokio::{runtime::Handle, time::timeout_at};

use super::topology::{Topology, probe_key};
use crate::{RedisSettings, address::Address, connection::Connections, record::Key};

/// Time for which connections to a server without hash slots stay open after the last redirection
/// to the server. A redirection can mean that the server is about to receive its first hash slots.
const KEPT_WITHOUT_SLOTS: Duration = Duration::from_secs(30);

/// Time, counted from the addition of a server, in which requests to the server wait until its
/// first connections are up. Later requests do not wait.
const FIRST_CONNECTION_WAIT: Duration = Duration::from_secs(1);

/// A server of the cluster, with the connections to that server. The connections are closed when
/// the last reference to this value is dropped.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) connections: Connections,
    opened: Instant,
}

impl Node {
    /// Waits until the connections to a new server are up, but not beyond `deadline`. Returns at
    /// once if the server can be used already, or if the server was added more than
    /// [`FIRST_CONNECTION_WAIT`] ago.
    pub(super) async fn ready(&self, deadline: tokio::time::Instant) {
        if !self.connections.serves() && self.opened.elapsed() < FIRST_CONNECTION_WAIT {
            let _ = timeout_at(deadline, self.connections.wait_until_connected()).await;
        }
    }
}

/// The known servers of a cluster, and the routing table from hash slots to servers. A server is
/// known if it owns hash slots, or if a request was recently redirected to it.
#[derive(Debug)]
pub(super) struct Nodes {
    settings: RedisSettings,
    /// Number of connections to each server of the cluster.
    size: usize,
    clock: Arc<StoreClock>,
    runtime: Handle,
    routes: ArcSwap<Routes>,
    connected: Mutex<HashMap<Address, Connected>>,
}

#[derive(Debug)]
struct Connected {
    node: Arc<Node>,
    last_used: Instant,
}

/// Routing table from hash slots to servers.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Ranges of hash slots with the owner of each range, in ascending order.
    ranges: Vec<Range>,
    pub(super) primaries: Vec<Primary>,
    replicas: Vec<Address>,
}

#[derive(Debug)]
struct Range {
    first: u16,
    last: u16,
    node: Arc<Node>,
}

/// A primary, which is a server that owns hash slots.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) node: Arc<Node>,
    /// Redis key for health probes. The key belongs to a hash slot of this server. No session is
    /// stored under the key.
    pub(super) probe_key: Key,
}

impl Nodes {
    /// Creates an empty set of servers. Each server that is added later gets `size` connections, on
    /// the current tokio runtime.
    pub(super) fn new(settings: RedisSettings, size: usize, clock: Arc<StoreClock>) -> Self {
        Self {
            settings,
            size,
            clock,
            runtime: Handle::current(),
            routes: ArcSwap::default(),
            connected: Mutex::default(),
        }
    }

    /// Returns the primary that owns the hash slot `slot` according to the latest topology. Returns
    /// `None` if no primary owns the slot.
    pub(super) fn of_slot(&self, slot: u16) -> Option<Arc<Node>> {
        let routes = self.routes.load();
        let end = routes.ranges.partition_point(|range| range.first <= slot);
        let range = routes.ranges.get(end.checked_sub(1)?)?;
        (slot <= range.last).then(|| Arc::clone(&range.node))
    }

    /// Returns the current routing table from hash slots to servers.
    pub(super) fn routes(&self) -> Guard<Arc<Routes>> {
        self.routes.load()
    }

    /// Returns the server at `address`. If the server is not known, adds the server and opens
    /// connections to it.
    pub(super) fn at(&self, address: &Address) -> Arc<Node> {
        let mut connected = self.connected();
        let entry = connected
            .entry(address.clone())
            .or_insert_with(|| Connected {
                node: Arc::new(self.open(address)),
                last_used: Instant::now(),
            });
        entry.last_used = Instant::now();
        Arc::clone(&entry.node)
    }

    /// Builds a new routing table from `topology`, and opens connections to new servers.
    pub(super) fn follow(&self, topology: &Topology) {
        let ranges: Vec<_> = topology
            .ranges
            .iter()
            .map(|range| Range {
                first: range.first,
                last: range.last,
                node: self.at(&range.primary),
            })
            .collect();
        let mut primaries: Vec<Primary> = Vec::new();
        for range in &ranges {
            if !primaries.iter().any(|p| Arc::ptr_eq(&p.node, &range.node)) {
                primaries.push(Primary {
                    node: Arc::clone(&range.node),
                    probe_key: probe_key_of(&ranges, &range.node),
                });
            }
        }
        self.routes.store(Arc::new(Routes {
            ranges,
            primaries,
            replicas: topology.replicas.clone(),
        }));
    }

    /// Removes each server that owns no hash slots in `topology`, unless a request was redirected
    /// to the server within the last [`KEPT_WITHOUT_SLOTS`].
    pub(super) fn prune(&self, topology: &Topology) {
        let has_slots = |address: &Address| topology.ranges.iter().any(|r| r.primary == *address);
        self.connected().retain(|address, connected| {
            has_slots(address) || connected.last_used.elapsed() < KEPT_WITHOUT_SLOTS
        });
    }

    /// Returns the servers that own hash slots.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        let routes = self.routes.load();
        routes
            .primaries
            .iter()
            .map(|p| Arc::clone(&p.node))
            .collect()
    }

    /// Returns all servers to which there are connections, including servers without hash slots.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        let connected = self.connected();
        connected.values().map(|c| Arc::clone(&c.node)).collect()
    }

    /// Returns the addresses of all known primaries and replicas. The topology can be requested
    /// from each address.
    pub(super) fn known_addresses(&self) -> Vec<Address> {
        let routes = self.routes.load();
        let primaries = routes.primaries.iter().map(|p| p.node.address.clone());
        primaries.chain(routes.replicas.iter().cloned()).collect()
    }

    fn open(&self, address: &Address) -> Node {
        let settings = self.settings.for_cluster_node(address);
        let _runtime = self.runtime.enter();
        Node {
            address: address.clone(),
            connections: Connections::open(&settings, self.size, &self.clock),
            opened: Instant::now(),
        }
    }

    /// Locks the map of connected servers. Ignores lock poisoning, because no code panics while the
    /// lock is held.
    fn connected(&self) -> MutexGuard<'_, HashMap<Address, Connected>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a Redis key for health probes of `node`. The key belongs to a hash slot that `node` owns
/// according to `ranges`. No session is stored under the key.
fn probe_key_of(ranges: &[Range], node: &Arc<Node>) -> Key {
    probe_key(|slot| {
        ranges.iter().any(|range| {
            Arc::ptr_eq(&range.node, node) && (range.first..=range.last).contains(&slot)
        })
    })
}
