//! State of the diagnosis of one connected Redis server.

use crate::{RedisSettings, connection::Call};

/// A connected Redis server that the diagnosis checks: its name, the settings, and the [`Call`]
/// that sends the commands of the checks.
pub(super) struct Examination<'a> {
    pub(super) settings: &'a RedisSettings,
    pub(super) call: Call,
    pub(super) server: &'a str,
}
