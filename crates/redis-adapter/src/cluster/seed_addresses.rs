//! The seed servers of a cluster, as the Redis URL names them, and the request for the cluster
//! report of one server.

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

/// Connects to `server`, requests the cluster report of the server, and closes the connection.
/// Returns `None` if the server reports no hash slots, because it belongs to no cluster.
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
