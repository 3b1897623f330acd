//! The task that keeps the topology known.

use std::{sync::Arc, time::Duration};

use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    Shared,
    nodes::Node,
    seeds::{ask, seeds},
    topology::Topology,
    view::{View, best},
};
use crate::{address::Address, backoff::Backoff};

/// How often the topology is looked at when nobody met any trouble.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often it is looked at, at most, while there is.
const TROUBLED_INTERVAL: Duration = Duration::from_millis(200);

/// So long a connected server may take to answer, and any other to connect as well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// When one has answered, the others have so long: a single one may be the one that is wrong.
const GRACE: Duration = Duration::from_millis(100);

/// Until `stopped` says so.
pub(super) async fn watch(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut known = None;
    let mut backoff = Backoff::new();
    loop {
        let seen = tokio::select! {
            seen = look(&shared) => seen,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        if let Some(seen) = seen {
            backoff = Backoff::new();
            if known.as_ref() != Some(&seen) {
                shared.nodes.follow(&seen);
                shared.is_known.send_replace(true);
                tracing::info!(primaries = %seen.primaries(), "Redis Cluster topology changed");
            }
            shared.nodes.prune(&seen);
            known = Some(seen);
        }
        let next = async {
            if known.is_none() {
                return sleep(backoff.next_pause()).await;
            }
            // Instances that met the same trouble do not look in step.
            sleep(TROUBLED_INTERVAL.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            let _ = timeout(INTERVAL, shared.trouble.notified()).await;
        };
        tokio::select! {
            () = next => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// Asks the primaries; if none of them answers, whoever else is connected; and if nobody is, every
/// address that was ever named. Of what they say the best counts.
async fn look(shared: &Shared) -> Option<Topology> {
    let primaries = shared.nodes.primaries();
    if let Some(seen) = best(&heard(primaries.into_iter().map(ask_connected)).await) {
        return Some(seen);
    }
    if let Some(seen) = best(&heard(shared.nodes.all().into_iter().map(ask_connected)).await) {
        return Some(seen);
    }
    let mut addresses = seeds(&shared.settings);
    addresses.extend(shared.nodes.known_addresses());
    addresses.sort_unstable();
    addresses.dedup();
    let asked = addresses.into_iter().map(|server| ask_anew(shared, server));
    best(&heard(asked).await)
}

/// What those say that answer in time.
async fn heard<'a>(asked: impl Iterator<Item = BoxFuture<'a, Option<View>>>) -> Vec<View> {
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut views = Vec::new();
    let mut patience = ANSWER_TIMEOUT;
    while let Ok(Some(view)) = timeout(patience, asked.next()).await {
        views.extend(view);
        if !views.is_empty() {
            patience = GRACE;
        }
    }
    views
}

fn ask_connected(node: Arc<Node>) -> BoxFuture<'static, Option<View>> {
    Box::pin(async move {
        if !node.connections.serves() {
            return None;
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let call = node.connections.probe("CLUSTER", deadline).await.ok()?;
        let replies = call.send(View::QUESTIONS).await.ok()?;
        View::of(replies, &node.address.host).ok().flatten()
    })
}

fn ask_anew(shared: &Shared, server: Address) -> BoxFuture<'_, Option<View>> {
    Box::pin(async move {
        match ask(&shared.settings, &server).await {
            Ok(Some(view)) => return Some(view),
            Ok(None) => tracing::debug!(%server, "Redis Cluster server knows no topology"),
            Err(reason) => tracing::debug!(%server, %reason, "Redis Cluster server not reached"),
        }
        None
    })
}
