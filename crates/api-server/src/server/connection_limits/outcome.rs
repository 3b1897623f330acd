//! Outcome for a new connection when a connection limit is reached, with its metric and log lines.

use std::net::IpAddr;

use metrics::counter;
use tee_session_domain::LogLimit;

static IDLE_CLOSED: LogLimit = LogLimit::per_second(1);
static NONE_IDLE: LogLimit = LogLimit::per_second(1);

/// Name of the metric that counts the connections that were closed, refused or restricted to health
/// probes at a connection limit.
pub(crate) const SHED_CONNECTIONS: &str = "tee_session_connections_shed_total";

/// The connection limit that a new connection has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Total,
    PerAddress(IpAddr),
}

impl Limit {
    /// All labels of the limits in metrics and logs. A label is the name of the setting.
    pub(crate) const LABELS: [&str; 2] = ["max_connections", "max_connections_per_address"];

    pub(super) fn label(self) -> &'static str {
        let [total, per_address] = Self::LABELS;
        match self {
            Self::Total => total,
            Self::PerAddress(_) => per_address,
        }
    }
}

/// Outcome for a new connection when a connection limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An idle connection was closed to make room for the new connection.
    IdleClosed,
    /// No connection was idle. The new connection is used for health probes only.
    HealthOnly,
    /// No connection was idle, and no reserved connection was left. The new connection was closed.
    Refused,
}

impl Outcome {
    pub(crate) const ALL: [Self; 3] = [Self::IdleClosed, Self::HealthOnly, Self::Refused];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::IdleClosed => "idle_closed",
            Self::HealthOnly => "health_only",
            Self::Refused => "refused",
        }
    }
}

/// Counts and logs `number` connections with the outcome `outcome` at the limit `limit`, which
/// allows `max` connections.
pub(super) fn report(limit: &'static str, max: usize, outcome: Outcome, number: usize) {
    counter!(SHED_CONNECTIONS, "limit" => limit, "outcome" => outcome.label())
        .increment(number as u64);
    if outcome == Outcome::IdleClosed {
        IDLE_CLOSED.log(|unlogged| {
            tracing::warn!(
                limit,
                max,
                unlogged,
                "Connection limit reached: the longest-idle connections are closed"
            );
        });
    } else {
        NONE_IDLE.log(|unlogged| {
            tracing::warn!(
                limit,
                max,
                unlogged,
                "Connection limit reached, and no connection is idle: new connections get answers \
                 to health probes only"
            );
        });
    }
}
