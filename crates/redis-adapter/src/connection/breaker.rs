//! The circuit breaker: nobody waits for a Redis that has just left others without an answer.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// So many commands in a row without an answer open it.
pub(super) const THRESHOLD: u32 = 5;

/// Open while commands are answered by silence. It is the supervisor that tries again, one
/// question at a time, so that no request has to wait to find out.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    unanswered: AtomicU32,
    opened: Notify,
}

impl Breaker {
    /// Whether commands are held back.
    pub(crate) fn is_open(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= THRESHOLD
    }

    /// A command was answered; an error is an answer, too.
    pub(crate) fn note_answer(&self) {
        // Read first: in good times nobody writes what all threads read.
        if self.unanswered.load(Ordering::Relaxed) != 0 {
            self.unanswered.store(0, Ordering::Relaxed);
        }
    }

    /// A command was not answered.
    pub(crate) fn note_silence(&self) {
        let before = self.unanswered.fetch_add(1, Ordering::Relaxed);
        if before + 1 == THRESHOLD {
            self.opened.notify_one();
        }
    }

    /// Ends when it opens, or at once if it did since the last time.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_the_threshold_and_closes_at_an_answer() {
        let breaker = Breaker::default();
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
        let breaker = Breaker::default();
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
        let breaker = Breaker::default();
        (0..THRESHOLD).for_each(|_| breaker.note_silence());
        breaker.opened().await;
    }
}
