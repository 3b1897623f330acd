//! Circuit breaker that rejects commands at once while Redis sends no replies.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use metrics::Gauge;
use tokio::sync::Notify;

/// Number of consecutive commands without a reply after which the circuit breaker opens.
pub(super) const THRESHOLD: u32 = 5;

/// A circuit breaker, which opens after [`THRESHOLD`] commands in a row that got no reply.
///
/// While the circuit breaker is open, requests fail at once. Health probes and heartbeats are still
/// sent. The next reply of Redis closes the circuit breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    consecutive_timeouts: AtomicU32,
    opened: Notify,
    /// Gauge that counts all open circuit breakers in the process.
    open_breakers: Gauge,
}

impl Breaker {
    /// Creates a circuit breaker, which is closed at first. While the circuit breaker is open, it
    /// adds 1 to `open_breakers`.
    pub(super) fn new(open_breakers: Gauge) -> Self {
        Self {
            consecutive_timeouts: AtomicU32::new(0),
            opened: Notify::new(),
            open_breakers,
        }
    }

    /// Creates a circuit breaker without metrics, for a connection that serves no session requests.
    pub(super) fn without_metrics() -> Arc<Self> {
        Arc::new(Self::new(Gauge::noop()))
    }

    /// Returns `true` if the circuit breaker is open, which means that commands are rejected.
    pub(crate) fn is_open(&self) -> bool {
        self.consecutive_timeouts.load(Ordering::Relaxed) >= THRESHOLD
    }

    /// Records that Redis sent a reply, which closes the circuit breaker. An error reply of Redis
    /// counts as a reply.
    pub(crate) fn note_reply(&self) {
        // The count is usually 0. Checking the count first avoids a write to a cache line that all
        // threads read.
        if self.consecutive_timeouts.load(Ordering::Relaxed) != 0 {
            let before = self.consecutive_timeouts.swap(0, Ordering::Relaxed);
            if before >= THRESHOLD {
                self.open_breakers.decrement(1.0);
            }
        }
    }

    /// Records a command that got no reply. The circuit breaker opens after [`THRESHOLD`] such
    /// commands in a row.
    pub(crate) fn note_timeout(&self) {
        let before = self.consecutive_timeouts.fetch_add(1, Ordering::Relaxed);
        if before + 1 == THRESHOLD {
            self.open_breakers.increment(1.0);
            self.opened.notify_one();
        }
    }

    /// Waits until the circuit breaker opens. Returns at once if the circuit breaker has opened
    /// since the last call of this function.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if self.is_open() {
            self.open_breakers.decrement(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn gauge_counts_an_open_circuit_breaker_once_until_it_closes_or_is_dropped() {
        let count = Arc::new(AtomicU64::new(0));
        let open = || f64::from_bits(count.load(Ordering::Relaxed));
        let breaker = Breaker::new(Gauge::from_arc(Arc::clone(&count)));
        (0..2 * THRESHOLD).for_each(|_| breaker.note_timeout());
        assert_eq!(open(), 1.0);
        breaker.note_reply();
        breaker.note_reply();
        assert_eq!(open(), 0.0);
        (0..THRESHOLD).for_each(|_| breaker.note_timeout());
        assert_eq!(open(), 1.0);
        drop(breaker);
        assert_eq!(open(), 0.0);
    }

    #[test]
    fn circuit_breaker_opens_after_5_consecutive_timeouts_and_closes_on_a_reply() {
        let breaker = Breaker::new(Gauge::noop());
        for _ in 1..THRESHOLD {
            breaker.note_timeout();
            assert!(!breaker.is_open());
        }
        breaker.note_timeout();
        assert!(breaker.is_open());
        breaker.note_reply();
        assert!(!breaker.is_open());
    }

    #[test]
    fn circuit_breaker_stays_closed_if_a_reply_follows_every_4_timeouts() {
        let breaker = Breaker::new(Gauge::noop());
        for _ in 0..10 {
            for _ in 1..THRESHOLD {
                breaker.note_timeout();
            }
            breaker.note_reply();
        }
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn waiting_for_the_circuit_breaker_to_open_returns_at_once_if_it_is_already_open() {
        let breaker = Breaker::new(Gauge::noop());
        (0..THRESHOLD).for_each(|_| breaker.note_timeout());
        breaker.opened().await;
    }
}
