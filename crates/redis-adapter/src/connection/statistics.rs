//! Metrics of the connections to Redis: the number of established connections, of lost connections,
//! and of failed attempts to connect. Redis commands are not counted.

use metrics::{Counter, Gauge, counter, gauge};

use super::end_reason::End;

/// Values of the label `reason` of the metric that counts lost connections:
///
/// - `broken`: the connection broke, Redis closed the connection, or any reason not listed here;
/// - `silent`: Redis sent no reply to several heartbeats;
/// - `out_of_step`: a reply did not match its request;
/// - `replaced`: the sentinels have replaced the primary or are electing a new one.
const REASONS: [&str; 4] = ["broken", "silent", "out_of_step", "replaced"];

/// Metrics of one connection. All connections in the process use the same counters and gauges.
pub(super) struct Statistics {
    connections: Gauge,
    connect_failures: Counter,
    reconnects: [Counter; REASONS.len()],
}

impl Statistics {
    /// Registers the metrics with the metrics recorder that is installed in the process at the time
    /// of this call.
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

    /// Records that a connection was lost or closed.
    pub(super) fn note_down(&self) {
        self.connections.decrement(1.0);
    }

    /// Counts a lost connection. The value of the label `reason` is derived from `end`.
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

/// Returns the gauge that counts the open circuit breakers of all connections.
pub(super) fn open_breakers() -> Gauge {
    gauge!("tee_session_redis_breakers_open")
}
