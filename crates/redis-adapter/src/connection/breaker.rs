//! The circuit breaker: nobody waits for a Redis that has just left others without an answer.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use metrics::Gauge;
use tokio::sync::Notify;

/// So many commands in a row without an answer open it.
pub(super) const THRESHOLD: u32 = 5;

/// Open while commands are answered by silence. It is the supervisor that tries again, one
/// question at a time, so that no request has to wait to find out.
#[derive(Debug)]
pub(crate) struct Breaker {
    unanswered: AtomicU32,
    opened: Notify,
    /// How many are open.
    all_open: Gauge,
}

impl Breaker {
    /// A closed one, which is counted in `all_open` while it is open.
    pub(super) fn new(all_open: Gauge) -> Self {
        Self {
            unanswered: AtomicU32::new(0),
            opened: Notify::new(),
            all_open,
        }
    }

    /// Returns one that no dashboard shows, for a connection that serves no requests.
    pub(super) fn unwatched() -> Arc<Self> {
        Arc::new(Self::new(Gauge::noop()))
    }

    /// Whether commands are held back.
    pub(crate) fn is_open(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= THRESHOLD
    }

    /// A command was answered; an error is an answer, too.
    pub(crate) fn note_answer(&self) {
        // Read first: in good times nobody writes what all threads read.
        if self.unanswered.load(Ordering::Relaxed) != 0 {
            let before = self.unanswered.swap(0, Ordering::Relaxed);
            if before >= THRESHOLD {
                self.all_open.decrement(1.0);
            }
        }
    }

    /// A command was not answered.
    pub(crate) fn note_silence(&self) {
        let before = self.unanswered.fetch_add(1, Ordering::Relaxed);
        if before + 1 == THRESHOLD {
            self.all_open.increment(1.0);
            self.opened.notify_one();
        }
    }

    /// Ends when it opens, or at once if it did since the last time.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if self.is_open() {
            self.all_open.decrement(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn is_counted_once_while_it_is_open_and_not_when_it_is_gone() {
        let count = Arc::new(AtomicU64::new(0));
        let open = || f64::from_bits(count.load(Ordering::Relaxed));
        let breaker = Breaker::new(Gauge::from_arc(Arc::clone(&count)));
        (0..2 * THRESHOLD).for_each(|_| breaker.note_silence());
        assert_eq!(open(), 1.0);
        breaker.note_answer();
        breaker.note_answer();
        assert_eq!(open(), 0.0);
        (0..THRESHOLD).for_each(|_| breaker.note_silence());
        assert_eq!(open(), 1.0);
        drop(breaker);
        assert_eq!(open(), 0.0);
    }

    #[test]
    fn opens_at_the_threshold_and_closes_at_an_answer() {
        let breaker = Breaker::new(Gauge::noop());
        for _ in 1..THRESHOLD {
            breaker.note_silence();
            assert!(!breaker.is_open());
        }
        breaker.note_silence();
        assert!(breaker.is_open());
        breaker.note_answer();
        assert!(!breaker.is_open());
    }

    #[test]
    fn an_answer_in_between_starts_the_count_anew() {
        let breaker = Breaker::new(Gauge::noop());
        for _ in 0..10 {
            for _ in 1..THRESHOLD {
                breaker.note_silence();
            }
            breaker.note_answer();
        }
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn tells_the_supervisor_when_it_opens() {
        let breaker = Breaker::new(Gauge::noop());
        (0..THRESHOLD).for_each(|_| breaker.note_silence());
        breaker.opened().await;
    }
}
