//! Settings for a connection to one sentinel.

use crate::{RedisSettings, address::Address, deployment::Credentials};

/// Returns the settings for a connection to `sentinel`. These settings contain the credentials for
/// sentinels, and no database number.
pub(super) fn for_sentinel(
    settings: &RedisSettings,
    sentinel: &Address,
    credentials: &Credentials,
) -> RedisSettings {
    RedisSettings {
        credentials: credentials.clone(),
        database: None,
        ..settings.for_server(sentinel)
    }
}
