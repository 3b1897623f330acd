//! What is counted of connections, for dashboards. Commands are not: only what ends, and begins.

use metrics::{Counter, Gauge, counter, gauge};

/// Why a connection is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It broke, or Redis ended it.
    Broken,
    /// Nothing came back from Redis.
    Silent,
    /// Answers did not fit their questions.
    OutOfStep,
    /// The sentinels have, or want, another primary.
    Replaced,
}

impl Loss {
    const ALL: [Self; 4] = [Self::Broken, Self::Silent, Self::OutOfStep, Self::Replaced];

    fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::OutOfStep => "out_of_step",
            Self::Replaced => "replaced",
        }
    }
}

/// Metrics that one connection counts with, together with all others.
pub(super) struct Statistics {
    connections: Gauge,
    connect_failures: Counter,
    reconnects: [Counter; Loss::ALL.len()],
}

impl Statistics {
    /// Counts with the recorder that the process has now.
    pub(super) fn new() -> Self {
        Self {
            connections: gauge!("tee_session_redis_connections"),
            connect_failures: counter!("tee_session_redis_connect_failures_total"),
            reconnects: Loss::ALL.map(
                |loss| counter!("tee_session_redis_reconnects_total", "reason" => loss.as_str()),
            ),
        }
    }

    pub(super) fn note_up(&self) {
        self.connections.increment(1.0);
    }

    /// A connection that was up is not any more.
    pub(super) fn note_down(&self) {
        self.connections.decrement(1.0);
    }

    pub(super) fn note_loss(&self, loss: Loss) {
        self.reconnects[loss as usize].increment(1);
    }

    pub(super) fn note_failed_attempt(&self) {
        self.connect_failures.increment(1);
    }
}

/// The gauge of open breakers.
pub(super) fn open_breakers() -> Gauge {
    gauge!("tee_session_redis_breakers_open")
}
