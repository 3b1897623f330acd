//! Response type of [`Client::health`](crate::Client::health).

use serde::Deserialize;
use time::OffsetDateTime;

use crate::wire;

/// Health of the service, returned by [`Client::health`](crate::Client::health).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Overall status of the service.
    pub status: HealthStatus,
    /// Current time of the service.
    #[serde(deserialize_with = "wire::time")]
    pub timestamp: OffsetDateTime,
    /// `true` if the last health check of Redis succeeded on all workers of the service. Always
    /// `false` if the service uses the embedded store, which keeps sessions in memory.
    pub redis_connected: bool,
    /// Kind of the session store: `redis` or `memory`.
    pub store: String,
}

/// Overall status of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// The service can serve sessions.
    Healthy,
    /// The last health check of the session store failed, or is too old. An unknown status, for
    /// example from a newer service, is also parsed as `Degraded`.
    #[serde(other)]
    Degraded,
}
