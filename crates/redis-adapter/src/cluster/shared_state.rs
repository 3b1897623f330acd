//! State that all handles of a cluster share with the background task that polls the topology.

use tokio::sync::{Notify, watch};

use super::nodes::Nodes;
use crate::RedisSettings;

/// State that all handles of a cluster share with the background task that polls the topology.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: RedisSettings,
    pub(super) nodes: Nodes,
    /// Signal that makes the background task poll the topology. The signal is sent if a request
    /// fails or is redirected, because the topology may have changed.
    pub(super) refresh_requested: Notify,
    /// `true` as soon as the topology of the cluster is known.
    pub(super) is_known: watch::Sender<bool>,
}
