//! What is counted of connections, for dashboards. Commands are not: only what ends, and begins.

use metrics::{Counter, Gauge, counter, gauge};

use super::supervisor::End;

/// Reasons for a new connection: it broke or Redis ended it; nothing came back from Redis; replies did
/// not fit their requests; the sentinels have, or want, another primary.
const REASONS: [&str; 4] = ["broken", "silent", "out_of_step", "replaced"];

/// Metrics that one connection counts with, together with all others.
pub(super) struct Statistics {
    connections: Gauge,
    connect_failures: Counter,
    reconnects: [Counter; REASONS.len()],
}

impl Statistics {
    /// Counts with the recorder that the process has now.
    pub(super) fn new() -> Self {
        Self {
            connections: gauge!("tee_session_redis_connections"),
            connect_failures: counter!("tee_session_redis_connect_failures_total"),
            reconnects: REASONS
                .map(|reason| counter!("tee_session_redis_reconnects_total", "reason" => reason)),
        }
    }

    pub(super) fn note_up(&self) {
        self.connections.increment(1.0);
    }

    /// A connection that was up is not any more.
    pub(super) fn note_down(&self) {
        self.connections.decrement(1.0);
    }

    /// Counts a connection that ended for `end`, and has to be made again.
    pub(super) fn note_loss(&self, end: &End) {
        let reason = match end {
            End::Silent => 1,
            End::OutOfStep => 2,
            End::Replaced => 3,
            _ => 0,
        };
        self.reconnects[reason].increment(1);
    }

    pub(super) fn note_failed_attempt(&self) {
        self.connect_failures.increment(1);
    }
}

/// The gauge of open breakers.
pub(super) fn open_breakers() -> Gauge {
    gauge!("tee_session_redis_breakers_open")
}
