//! Diagnosis of a cluster: the topology that the seed servers report, and each primary.

use futures_util::future::join_all;

use super::{
    RequiredPermissions, connecting,
    finding::{Check, Finding, Verdict},
    server,
};
use crate::{
    RedisSettings,
    address::Address,
    cluster::{
        ClusterReport, HASH_SLOTS, Topology, best_topology, probe_key, request_report, seeds,
    },
    connection::ConnectFault,
};

/// Requests the topology from the seed servers in the Redis URL, and checks each primary. Returns
/// the findings.
pub(super) async fn examine(
    settings: &RedisSettings,
    required: RequiredPermissions,
    progress: &mut impl FnMut(&str),
) -> Vec<Finding> {
    let seeds = seeds(settings);
    progress(&format!(
        "requesting the cluster topology from {} servers",
        seeds.len()
    ));
    let requested = seeds.iter().map(|seed| request_report(settings, seed));
    let (mut reports, mut missed) = (Vec::new(), Vec::new());
    for (seed, answer) in seeds.iter().zip(join_all(requested).await) {
        match answer {
            Ok(Some(report)) => reports.push(report),
            Ok(None) => missed.push(failed(settings, seed, ConnectFault::NoCluster).await),
            Err(fault) => missed.push(failed(settings, seed, fault).await),
        }
    }
    let Some(topology) = best_topology(&reports) else {
        return missed;
    };
    // At least one other seed server has reported a topology, so these findings are only warnings.
    let mut found: Vec<_> = missed
        .into_iter()
        .map(|finding| Finding {
            check: Check::Cluster,
            verdict: Verdict::Warning,
            ..finding
        })
        .collect();
    let primaries = primaries(&topology);
    found.push(coverage(&reports, &topology, primaries.len()));
    progress(&format!("checking {} primaries", primaries.len()));
    let examined = primaries.iter().map(|primary| async {
        let probe = probe_key(|slot| {
            let mut ranges = topology.ranges.iter();
            ranges.any(|range| {
                range.primary == *primary && (range.first..=range.last).contains(&slot)
            })
        });
        server::examine(&settings.for_cluster_node(primary), required, probe).await
    });
    found.extend(join_all(examined).await.into_iter().flatten());
    found
}

fn primaries(topology: &Topology) -> Vec<Address> {
    let mut primaries: Vec<_> = topology.ranges.iter().map(|r| r.primary.clone()).collect();
    primaries.sort_unstable();
    primaries.dedup();
    primaries
}

fn coverage(reports: &[ClusterReport], topology: &Topology, primaries: usize) -> Finding {
    let served = topology
        .ranges
        .iter()
        .map(|range| range.last - range.first + 1);
    let served: u16 = served.sum();
    let error = |what: String, advice: &str| Finding::error(Check::Cluster, "", what, advice);
    let finding = if served < HASH_SLOTS {
        error(
            format!(
                "{} of {HASH_SLOTS} hash slots are not assigned to a server",
                HASH_SLOTS - served
            ),
            "assign them to a primary: redis-cli --cluster fix HOST:PORT",
        )
    } else if !reports.iter().any(ClusterReport::serves) {
        error(
            "the cluster state is fail".to_owned(),
            "start the primaries that are down, or let their replicas take over; redis-cli CLUSTER \
             NODES shows them",
        )
    } else {
        let what = format!("{primaries} primaries serve all {HASH_SLOTS} hash slots");
        Finding::fine(Check::Cluster, "", what)
    };
    finding.of_all()
}

async fn failed(settings: &RedisSettings, seed: &Address, fault: ConnectFault) -> Finding {
    connecting::failed(&settings.for_cluster_node(seed), &seed.to_string(), fault).await
}
