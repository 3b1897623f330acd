//! A cluster: what its servers say of it, and each primary.

use futures_util::future::join_all;

use super::{
    Needs, connecting,
    finding::{Check, Finding, Verdict},
    server,
};
use crate::{
    RedisFault, RedisSettings,
    address::Address,
    cluster::{HASH_SLOTS, Topology, View, ask, best, probe_key, seeds},
    connection::ConnectFault,
};

/// Asks the servers that the URL names for the cluster, and looks at each primary.
pub(super) async fn examine(
    settings: &RedisSettings,
    needs: Needs,
    progress: &mut impl FnMut(&str),
) -> Vec<Finding> {
    let seeds = seeds(settings);
    progress(&format!("asking {} servers for the cluster", seeds.len()));
    let asked = seeds.iter().map(|seed| ask(settings, seed));
    let (mut views, mut missed) = (Vec::new(), Vec::new());
    for (seed, answer) in seeds.iter().zip(join_all(asked).await) {
        match answer {
            Ok(Some(view)) => views.push(view),
            Ok(None) => missed.push(outsider(seed)),
            Err(fault) => missed.push(unheard(settings, seed, fault).await),
        }
    }
    let Some(topology) = best(&views) else {
        return missed;
    };
    // The others do.
    let mut found: Vec<_> = missed
        .into_iter()
        .map(|finding| Finding {
            check: Check::Cluster,
            verdict: Verdict::Warning,
            ..finding
        })
        .collect();
    let primaries = primaries(&topology);
    found.push(whole(&views, &topology, primaries.len()));
    progress(&format!("asking {} primaries", primaries.len()));
    let examined = primaries.iter().map(|primary| async {
        let probe = probe_key(|slot| {
            let mut ranges = topology.ranges.iter();
            ranges.any(|range| {
                range.primary == *primary && (range.first..=range.last).contains(&slot)
            })
        });
        server::examine(&settings.for_cluster_node(primary), needs, probe).await
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

fn whole(views: &[View], topology: &Topology, primaries: usize) -> Finding {
    let served = topology
        .ranges
        .iter()
        .map(|range| range.last - range.first + 1);
    let served: u16 = served.sum();
    let error = |what: String, advice: &str| Finding::error(Check::Cluster, "", what, advice);
    let finding = if served < HASH_SLOTS {
        error(
            format!("{} of {HASH_SLOTS} slots are nobody's", HASH_SLOTS - served),
            "give them to a primary: redis-cli --cluster fix HOST:PORT",
        )
    } else if !views.iter().any(View::serves) {
        error(
            "its state is fail".to_owned(),
            "start the primaries that are away, or let their replicas take over; redis-cli CLUSTER \
             NODES shows them",
        )
    } else {
        let what = format!("{primaries} primaries have all of {HASH_SLOTS} slots");
        Finding::fine(Check::Cluster, "", what)
    };
    finding.of_all()
}

fn outsider(seed: &Address) -> Finding {
    Finding::error(
        Check::Cluster,
        &seed.to_string(),
        "it belongs to no cluster whose slots are given away",
        "mend the addresses in the Redis URL, or make the cluster: redis-cli --cluster create",
    )
}

async fn unheard(settings: &RedisSettings, seed: &Address, fault: ConnectFault) -> Finding {
    let server = seed.to_string();
    match fault {
        ConnectFault::Redis(RedisFault::Refused {
            command: "CLUSTER SLOTS",
            code,
        }) if code == "ERR" => Finding::error(
            Check::Cluster,
            &server,
            "it is no server of a cluster",
            "let the Redis URL begin with redis: in place of redis-cluster:",
        ),
        fault => connecting::failed(&settings.for_cluster_node(seed), &server, fault).await,
    }
}
