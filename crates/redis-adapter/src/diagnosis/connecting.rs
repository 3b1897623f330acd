//! Findings about failed attempts to connect.

use super::finding::{Check, Finding};
use crate::{
    RedisSettings,
    connection::{ConnectFault, Explanation, Topic},
};

/// Returns the finding about a failed attempt to connect to `server`. `fault` is the error of the
/// attempt.
pub(super) async fn failed(settings: &RedisSettings, server: &str, fault: ConnectFault) -> Finding {
    let Explanation {
        topic,
        what,
        advice,
    } = Explanation::find(settings, server, fault).await;
    let check = match topic {
        Topic::Connection => Check::Connection,
        Topic::Login => Check::Login,
        Topic::Permissions => Check::Permissions,
        Topic::Cluster => Check::Cluster,
    };
    Finding::error(check, server, what, advice)
}
