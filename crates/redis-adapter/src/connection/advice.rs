//! What a session store should not be set to, told once to whoever runs it.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Call,
    client::Client,
    server_settings::{info, parameter},
};

/// For each question; nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);

const EVICTS: &str = "Redis may evict sessions when its memory is full, which logs people out \
     without a word: set maxmemory-policy to noeviction";

const FORGETS: &str = "Redis keeps nothing on disk, so that its restart logs everybody out: set \
     appendonly to yes, or save";

const ALL_OR_NOTHING: &str = "One lost part of this Redis Cluster stops all of it: set \
     cluster-require-full-coverage to no";

/// Looks at the settings of the server, as far as it may, and warns: once in the whole process,
/// since every worker has a connection of its own.
pub(super) async fn give(client: &Arc<Client>, is_cluster_node: bool) {
    static ALL_OR_NOTHING_TOLD: Once = Once::new();
    static EVICTS_TOLD: Once = Once::new();
    static FORGETS_TOLD: Once = Once::new();

    let call = || Call::uncounted(Arc::clone(client), Instant::now() + TIMEOUT);
    if let Some(policy) = info(&call(), "memory", "maxmemory_policy:").await
        && policy != "noeviction"
    {
        EVICTS_TOLD.call_once(|| tracing::warn!("{EVICTS}"));
    }
    let is_off = |value: Option<String>| value.is_some_and(|value| value == "0");
    if is_off(info(&call(), "persistence", "aof_enabled:").await)
        && parameter(&call(), "save")
            .await
            .is_some_and(|saves| saves.is_empty())
    {
        FORGETS_TOLD.call_once(|| tracing::warn!("{FORGETS}"));
    }
    if is_cluster_node
        && parameter(&call(), "cluster-require-full-coverage")
            .await
            .as_deref()
            == Some("yes")
    {
        ALL_OR_NOTHING_TOLD.call_once(|| tracing::warn!("{ALL_OR_NOTHING}"));
    }
    tracing::debug!("Looked at the settings of Redis");
}
