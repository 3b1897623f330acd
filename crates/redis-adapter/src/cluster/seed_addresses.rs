//! Seed servers of a cluster (the servers in the Redis URL), and the request that loads the
//! topology of the cluster from one server.

use super::cluster_report::ClusterReport;
use crate::{
    RedisSettings,
    address::Address,
    connection::{ConnectFault, call_once},
    deployment::Deployment,
};

/// Returns the addresses of the seed servers in the Redis URL. Returns an empty list if the
/// deployment is not a cluster.
pub(crate) fn seeds(settings: &RedisSettings) -> Vec<Address> {
    match &settings.deployment {
        Deployment::Cluster(seeds) => seeds.clone(),
        _ => Vec::new(),
    }
}

/// Connects to `server`, loads the topology and the state of the cluster, and closes the
/// connection. Returns `None` if the list of hash slots is invalid or empty. The list is empty if
/// the server belongs to no cluster.
pub(crate) async fn request_report(
    settings: &RedisSettings,
    server: &Address,
) -> Result<Option<ClusterReport>, ConnectFault> {
    let settings = settings.for_cluster_node(server);
    call_once(&settings, async |call| {
        let replies = call.send(ClusterReport::COMMANDS).await?;
        ClusterReport::of(replies, &server.host)
    })
    .await
}
