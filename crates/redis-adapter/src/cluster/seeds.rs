//! The servers that a URL names, and what one says to whom it does not know yet.

use super::view::View;
use crate::{
    RedisSettings,
    address::Address,
    connection::{ConnectFault, call_once},
    deployment::Deployment,
};

/// Those of the URL.
pub(crate) fn seeds(settings: &RedisSettings) -> Vec<Address> {
    match &settings.deployment {
        Deployment::Cluster(seeds) => seeds.clone(),
        _ => Vec::new(),
    }
}

/// Connects to `server`, and asks for the cluster as it sees it. `None`: it belongs to none, not yet or
/// no more.
pub(crate) async fn ask(
    settings: &RedisSettings,
    server: &Address,
) -> Result<Option<View>, ConnectFault> {
    let settings = settings.for_cluster_node(server);
    call_once(&settings, async |call| {
        let replies = call.send(View::QUESTIONS).await?;
        View::of(replies, &server.host)
    })
    .await
}
