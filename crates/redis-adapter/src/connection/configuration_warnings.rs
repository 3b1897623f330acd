//! Warnings about Redis settings that are unsuitable for a session store, such as the eviction of
//! keys. Each warning is logged once in the process.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    call::Call,
    client::Client,
    server_settings::{info, parameter},
};

/// Timeout for each request that reads a Redis setting. The settings are read in the background, so
/// no session request waits for the replies.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Reads the settings of the Redis server and logs a warning for each unsuitable setting. Skips a
/// setting if the Redis user lacks the permission to read it.
///
/// Every new connection runs this check, but each warning is logged only once in the process.
pub(super) async fn check(client: &Arc<Client>, is_cluster_node: bool) {
    static EVICTION_LOGGED: Once = Once::new();
    static NO_PERSISTENCE_LOGGED: Once = Once::new();
    static FULL_COVERAGE_LOGGED: Once = Once::new();

    let call = || Call::uncounted(Arc::clone(client), Instant::now() + TIMEOUT);
    if let Some(policy) = info(&call(), "memory", "maxmemory_policy:").await
        && policy != "noeviction"
    {
        EVICTION_LOGGED.call_once(|| {
            tracing::warn!(
                "Redis may evict sessions when its memory is full, which logs users out without \
                 notice: set maxmemory-policy to noeviction"
            );
        });
    }
    let is_off = |value: Option<String>| value.is_some_and(|value| value == "0");
    if is_off(info(&call(), "persistence", "aof_enabled:").await)
        && parameter(&call(), "save")
            .await
            .is_some_and(|saves| saves.is_empty())
    {
        NO_PERSISTENCE_LOGGED.call_once(|| {
            tracing::warn!(
                "Redis does not persist sessions, so a restart of Redis logs all users out: set \
                 appendonly to yes, or configure save"
            );
        });
    }
    if is_cluster_node
        && parameter(&call(), "cluster-require-full-coverage")
            .await
            .as_deref()
            == Some("yes")
    {
        FULL_COVERAGE_LOGGED.call_once(|| {
            tracing::warn!(
                "This Redis Cluster rejects all commands if a part of its hash slots is \
                 unavailable: set cluster-require-full-coverage to no"
            );
        });
    }
    tracing::debug!("Checked the configuration of Redis");
}
