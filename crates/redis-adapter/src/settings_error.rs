//! The error for invalid settings of the connection to Redis.

use thiserror::Error;

use crate::url_scheme::SCHEMES;

/// Error in the settings for Redis. The error text does not repeat the URL, because the URL may
/// contain a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedisSettingsError {
    /// The Redis URL has an unknown scheme.
    #[error(
        "the Redis URL must begin with one of {}",
        SCHEMES.map(|(scheme, ..)| format!("{scheme}://")).join(", ")
    )]
    Scheme,
    /// The URL names a cluster, but plain records cannot be accepted in a cluster.
    #[error(
        "plain records cannot be accepted in a cluster: the two keys of a session may be on \
         different servers"
    )]
    PlainInCluster,
    /// The URL names a cluster, but the invalidation feed is not available in a cluster.
    #[error(
        "the invalidation feed is not available in a cluster, because keys move between its \
         servers: use one server or Sentinel"
    )]
    ChangesInCluster,
    /// A part of the Redis URL is missing, invalid or without effect.
    #[error("the Redis URL cannot be used: {reason}")]
    Form {
        /// Name of the invalid part of the URL, and the problem with that part.
        reason: String,
    },
}
