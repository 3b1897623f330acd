//! The examination of one connected server.

use crate::{RedisSettings, connection::Call};

/// A connected server that is being checked, with the call that sends the commands of the checks.
pub(super) struct Examination<'a> {
    pub(super) settings: &'a RedisSettings,
    pub(super) call: Call,
    pub(super) server: &'a str,
}
