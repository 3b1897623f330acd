//! The servers that a URL names, and what one says to whom it does not know yet.

use super::view::View;
use crate::{
    RedisSettings,
    address::Address,
    connection::{ConnectFault, ask_once},
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
    ask_once(&settings, async |client, asking| {
        let replies = client.ask(asking, View::QUESTIONS).await?;
        View::of(replies, &server.host)
    })
    .await
}
