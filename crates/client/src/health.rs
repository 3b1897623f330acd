//! How the service is.

use serde::Deserialize;
use time::OffsetDateTime;

use crate::wire;

/// The answer to [`Client::health`](crate::Client::health).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether sessions can be served.
    pub status: HealthStatus,
    /// The service's time.
    #[serde(deserialize_with = "wire::time")]
    pub timestamp: OffsetDateTime,
    /// Whether Redis answered when it was last asked; `false` with the embedded store.
    pub redis_connected: bool,
    /// Where sessions are kept: `redis` or `memory`.
    pub store: String,
}

/// Whether sessions can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// They can.
    Healthy,
    /// The store is away, or in trouble.
    #[serde(other)]
    Degraded,
}
