//! The servers of a cluster that this process is connected to, and the slots of each.

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

/// A server without slots keeps its connections for so long after a redirection led to it: it may
/// be about to get its first ones.
const KEPT_WITHOUT_SLOTS: Duration = Duration::from_secs(30);

/// A new server may be waited for so long.
const FIRST_CONNECTION: Duration = Duration::from_secs(1);

/// One server, connected for as long as somebody holds this.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) connections: Connections,
    opened: Instant,
}

impl Node {
    /// Waits for the connections that are being made, if they are the first ones: not longer than
    /// `deadline`, and not for a server that has been away for long.
    pub(super) async fn ready(&self, deadline: tokio::time::Instant) {
        if !self.connections.serves() && self.opened.elapsed() < FIRST_CONNECTION {
            let _ = timeout_at(deadline, self.connections.wait_until_connected()).await;
        }
    }
}

/// All servers that have slots, or that redirections have led to.
#[derive(Debug)]
pub(super) struct Nodes {
    settings: RedisSettings,
    size: usize,
    clock: Arc<StoreClock>,
    runtime: Handle,
    routes: ArcSwap<Routes>,
    connected: Mutex<HashMap<Address, Connected>>,
}

#[derive(Debug)]
struct Connected {
    node: Arc<Node>,
    wanted: Instant,
}

/// Which key goes where.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// In the order of their slots.
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

/// A server that has slots.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) node: Arc<Node>,
    /// A key that it has, and no session.
    pub(super) probe_key: Key,
}

impl Nodes {
    /// None yet; those to come get `size` connections each, on the current tokio runtime.
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

    /// The primary that has `slot`, as far as is known.
    pub(super) fn of_slot(&self, slot: u16) -> Option<Arc<Node>> {
        let routes = self.routes.load();
        let behind = routes.ranges.partition_point(|range| range.first <= slot);
        let range = routes.ranges.get(behind.checked_sub(1)?)?;
        (slot <= range.last).then(|| Arc::clone(&range.node))
    }

    /// Which key goes where, now.
    pub(super) fn routes(&self) -> Guard<Arc<Routes>> {
        self.routes.load()
    }

    /// The server at `address`; connections to it are opened if there are none.
    pub(super) fn at(&self, address: &Address) -> Arc<Node> {
        let mut connected = self.connected();
        let entry = connected
            .entry(address.clone())
            .or_insert_with(|| Connected {
                node: Arc::new(self.open(address)),
                wanted: Instant::now(),
            });
        entry.wanted = Instant::now();
        Arc::clone(&entry.node)
    }

    /// Takes over what the cluster is now, and opens connections to what is new in it.
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

    /// Lets go of servers that nobody needs any more.
    pub(super) fn prune(&self, topology: &Topology) {
        let has_slots = |address: &Address| topology.ranges.iter().any(|r| r.primary == *address);
        self.connected().retain(|address, connected| {
            has_slots(address) || connected.wanted.elapsed() < KEPT_WITHOUT_SLOTS
        });
    }

    /// Those that have slots.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        let routes = self.routes.load();
        routes
            .primaries
            .iter()
            .map(|p| Arc::clone(&p.node))
            .collect()
    }

    /// All that are connected.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        let connected = self.connected();
        connected.values().map(|c| Arc::clone(&c.node)).collect()
    }

    /// Where else the cluster may be asked for its topology.
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

    /// Nothing panics while it is held.
    fn connected(&self) -> MutexGuard<'_, HashMap<Address, Connected>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key in one of the slots that `node` has in `ranges`.
fn probe_key_of(ranges: &[Range], node: &Arc<Node>) -> Key {
    probe_key(|slot| {
        ranges.iter().any(|range| {
            Arc::ptr_eq(&range.node, node) && (range.first..=range.last).contains(&slot)
        })
    })
}
