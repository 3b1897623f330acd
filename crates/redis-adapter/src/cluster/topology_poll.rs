//! The background task that loads the topology of a cluster and keeps it up to date.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    cluster_report::{ClusterReport, best_topology},
    nodes::Node,
    seed_addresses::{request_report, seeds},
    shared_state::Shared,
    topology::Topology,
};
use crate::{
    RedisFault,
    address::Address,
    backoff::Backoff,
    connection::{ConnectFault, FailureLog},
};

/// Interval between two polls of the topology. Failed or redirected requests cause earlier polls.
const INTERVAL: Duration = Duration::from_secs(5);

/// Minimum interval between two polls of the topology. Before each poll, this time is multiplied by
/// a random factor between 0.5 and 1.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// Timeout for loading the topology from one server. If there is no connection to the server, the
/// timeout includes the attempt to connect.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeout for each further report of the topology after the first server has replied. The first
/// report may be outdated, so the reports of several servers are compared.
const FURTHER_REPORTS_TIMEOUT: Duration = Duration::from_millis(100);

/// Polls the topology of the cluster and updates the routing table, until the value of `stopped` is
/// `true`.
pub(super) async fn follow_topology(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut known = None;
    let mut backoff = Backoff::new();
    let mut failures = FailureLog::default();
    loop {
        let topology = tokio::select! {
            topology = poll_topology(&shared) => topology,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match topology {
            // Only failures before the first topology are logged here. Later failures are logged by
            // the connections to each server.
            Err(Some((server, fault))) if known.is_none() => {
                failures.log(shared.settings.for_cluster_node(&server), fault);
            }
            Err(_) => {}
            Ok(topology) => {
                backoff = Backoff::new();
                if known.as_ref() != Some(&topology) {
                    shared.nodes.follow(&topology);
                    shared.is_known.send_replace(true);
                    tracing::info!(primaries = %topology.primaries(), "Redis Cluster topology changed");
                }
                shared.nodes.prune(&topology);
                known = Some(topology);
            }
        }
        let next = async {
            if known.is_none() {
                return sleep(backoff.next_pause()).await;
            }
            // The pause has a random length, so that instances that notice the same failure do not
            // poll at the same time.
            sleep(MIN_INTERVAL.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            let _ = timeout(INTERVAL, shared.refresh_requested.notified()).await;
        };
        tokio::select! {
            () = next => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// Requests the topology from servers of the cluster. If their reports differ, reports of an
/// available cluster are preferred, and then reports with a later epoch. If no server reports a
/// topology, the error contains the address and the fault of the last server that failed.
///
/// Polls the primaries first. If no primary replies, polls all servers to which there are
/// connections. If none of these servers replies, connects to the seed servers and to all other
/// known addresses.
async fn poll_topology(shared: &Shared) -> Result<Topology, Option<(Address, ConnectFault)>> {
    let requests = shared.nodes.primaries().into_iter().map(request_from_node);
    if let Some(topology) = best_topology(&collect_reports(requests).await) {
        return Ok(topology);
    }
    let requests = shared.nodes.all().into_iter().map(request_from_node);
    if let Some(topology) = best_topology(&collect_reports(requests).await) {
        return Ok(topology);
    }
    let mut addresses = seeds(&shared.settings);
    addresses.extend(shared.nodes.known_addresses());
    addresses.sort_unstable();
    addresses.dedup();
    let faults = Mutex::default();
    let requests = addresses.iter().cloned();
    let requests = requests.map(|server| request_from_address(shared, server, &faults));
    let topology = best_topology(&collect_reports(requests).await);
    topology.ok_or_else(|| {
        let last = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
        // If the timeout has passed while a server is still being contacted, no fault is stored
        // yet.
        last.or_else(|| {
            let command = "CLUSTER SLOTS";
            let fault = ConnectFault::Redis(RedisFault::TimedOut { command });
            Some((addresses.into_iter().next()?, fault))
        })
    })
}

/// Waits for the replies to `requests`, and returns the reports in the replies. Until the first
/// report arrives, the timeout for each reply is [`REPORT_TIMEOUT`]. After that, the timeout for
/// each reply is [`FURTHER_REPORTS_TIMEOUT`].
async fn collect_reports<'a>(
    requests: impl Iterator<Item = BoxFuture<'a, Option<ClusterReport>>>,
) -> Vec<ClusterReport> {
    let mut requests: FuturesUnordered<_> = requests.collect();
    let mut reports = Vec::new();
    let mut timeout_for_next = REPORT_TIMEOUT;
    while let Ok(Some(report)) = timeout(timeout_for_next, requests.next()).await {
        reports.extend(report);
        if !reports.is_empty() {
            timeout_for_next = FURTHER_REPORTS_TIMEOUT;
        }
    }
    reports
}

fn request_from_node(node: Arc<Node>) -> BoxFuture<'static, Option<ClusterReport>> {
    Box::pin(async move {
        if !node.connections.serves() {
            return None;
        }
        let deadline = Instant::now() + REPORT_TIMEOUT;
        let call = node.connections.probe("CLUSTER", deadline).await.ok()?;
        let replies = call.send(ClusterReport::COMMANDS).await.ok()?;
        ClusterReport::of(replies, &node.address.host)
            .ok()
            .flatten()
    })
}

/// Connects to `server` and requests its report. If the request fails, stores the fault in
/// `last_fault`.
fn request_from_address<'a>(
    shared: &'a Shared,
    server: Address,
    last_fault: &'a Mutex<Option<(Address, ConnectFault)>>,
) -> BoxFuture<'a, Option<ClusterReport>> {
    Box::pin(async move {
        let fault = match request_report(&shared.settings, &server).await {
            Ok(Some(report)) => return Some(report),
            Ok(None) => {
                tracing::debug!(%server, "Redis Cluster server returned no topology");
                ConnectFault::NoCluster
            }
            Err(reason) => {
                tracing::debug!(%server, %reason, "Redis Cluster server is unreachable");
                reason
            }
        };
        let mut last_fault = last_fault.lock().unwrap_or_else(PoisonError::into_inner);
        *last_fault = Some((server, fault));
        None
    })
}
