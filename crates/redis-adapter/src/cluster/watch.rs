//! The task that keeps the topology known.

use std::{pin::pin, sync::Arc, time::Duration};

use fred::{
    interfaces::ClientLike,
    types::{
        ClusterHash, CustomCommand,
        config::{Server, ServerConfig},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Shared, topology::Topology};
use crate::{
    address::Address,
    connection::ask_once,
    pool::{Call, Via},
};

/// How often the topology is looked at when nobody met any trouble.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often it is looked at while there is.
const TROUBLED_INTERVAL: Duration = Duration::from_millis(200);

/// So long one server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

const COMMAND: &str = "CLUSTER";
const SLOTS: &str = "SLOTS";

/// Until `stopped` says so.
pub(super) async fn watch(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut known = None;
    loop {
        let seen = tokio::select! {
            seen = look(&shared) => seen,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        if let Some(seen) = seen {
            if known.as_ref() != Some(&seen) {
                shared.nodes.follow(&seen);
                shared.is_known.send_replace(true);
                tracing::info!(primaries = %primaries(&seen), "Redis Cluster topology changed");
            }
            shared.nodes.prune(&seen);
            known = Some(seen);
        }
        let next = async {
            sleep(TROUBLED_INTERVAL).await;
            if known.is_some() {
                let _ = timeout(INTERVAL - TROUBLED_INTERVAL, shared.trouble.notified()).await;
            }
        };
        tokio::select! {
            () = next => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// Asks the servers that are connected, and then any other that was ever named, until one knows.
async fn look(shared: &Shared) -> Option<Topology> {
    let mut nodes = shared.nodes.all();
    fastrand::shuffle(&mut nodes);
    for node in nodes.iter().filter(|node| node.pool.serves()) {
        let call = Call::new(COMMAND, Instant::now() + ANSWER_TIMEOUT).probe();
        let slots = |via: Via| async move {
            let answer = pin!(via.client.custom(slots_command(), vec![SLOTS]));
            Ok(via.send(COMMAND, answer).await?)
        };
        let answer = node.pool.call(call, slots).await;
        let host = &node.address.host;
        if let Some(seen) = answer.ok().and_then(|answer| Topology::parse(answer, host)) {
            return Some(seen);
        }
    }
    let mut addresses = seeds(shared);
    addresses.extend(shared.nodes.known_addresses());
    fastrand::shuffle(&mut addresses);
    for server in &addresses {
        let settings = shared.settings.for_cluster_node(server);
        let answer = ask_once(&settings, slots_command(), SLOTS).await;
        match answer.map(|answer| Topology::parse(answer, &server.host)) {
            Ok(Some(seen)) => return Some(seen),
            Ok(None) => tracing::warn!(%server, "Redis Cluster topology not understood"),
            Err(reason) => tracing::debug!(%server, %reason, "Redis Cluster server not reached"),
        }
    }
    None
}

/// Those of the URL.
fn seeds(shared: &Shared) -> Vec<Address> {
    let ServerConfig::Clustered { hosts, .. } = &shared.settings.server.server else {
        return Vec::new();
    };
    let seed = |server: &Server| Address::new(&server.host, server.port);
    hosts.iter().map(seed).collect()
}

fn slots_command() -> CustomCommand {
    CustomCommand::new_static(COMMAND, ClusterHash::Random, false)
}

fn primaries(topology: &Topology) -> String {
    let mut names: Vec<_> = topology
        .ranges
        .iter()
        .map(|r| r.primary.to_string())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}
