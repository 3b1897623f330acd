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
    configuration::{Configuration, Eviction, Persistence},
};

/// Timeout for reading the configuration of Redis. The configuration is read in the background, so
/// no session request waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the settings of the Redis server and logs a warning for each unsuitable setting. Skips a
/// setting if the Redis user lacks the permission to read it.
///
/// Every new connection runs this check, but each warning is logged only once in the process.
pub(super) async fn check(client: &Arc<Client>, is_cluster_node: bool) {
    static EVICTION_LOGGED: Once = Once::new();
    static NO_PERSISTENCE_LOGGED: Once = Once::new();
    static FULL_COVERAGE_LOGGED: Once = Once::new();

    let call = Call::uncounted(Arc::clone(client), Instant::now() + TIMEOUT);
    let configuration = Configuration::read(&call, is_cluster_node).await;
    if matches!(
        configuration.eviction,
        Some(Eviction::On(_) | Eviction::WithoutLimit(_))
    ) {
        EVICTION_LOGGED.call_once(|| {
            tracing::warn!(
                "Redis may evict sessions when its memory is full, which logs users out without \
                 notice: set maxmemory-policy to noeviction"
            );
        });
    }
    if configuration.persistence == Some(Persistence::Off) {
        NO_PERSISTENCE_LOGGED.call_once(|| {
            tracing::warn!(
                "Redis does not persist sessions, so a restart of Redis logs all users out: set \
                 appendonly to yes, or configure save"
            );
        });
    }
    if configuration.requires_full_coverage == Some(true) {
        FULL_COVERAGE_LOGGED.call_once(|| {
            tracing::warn!(
                "This Redis Cluster rejects all commands if a part of its hash slots is \
                 unavailable: set cluster-require-full-coverage to no"
            );
        });
    }
    tracing::debug!("Checked the configuration of Redis");
}
