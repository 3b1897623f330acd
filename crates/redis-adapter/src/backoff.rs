//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Doubling pauses, each drawn between half and all of its size, at the longest too: instances
/// that lost Redis together do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    pub(crate) fn next_pause(&mut self) -> Duration {
        let size = self.next;
        self.next = (size * 2).min(LONGEST);
        size.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_keep_their_jitter_there() {
        let mut backoff = Backoff::new();
        let first = backoff.next_pause();
        assert!(first >= FIRST / 2 && first <= FIRST, "{first:?}");
        let late: Vec<_> = (0..50).map(|_| backoff.next_pause()).skip(10).collect();
        assert!(
            late.iter()
                .all(|pause| *pause >= LONGEST / 2 && *pause <= LONGEST),
            "{late:?}"
        );
        assert!(
            late.iter().any(|pause| *pause != late[0]),
            "no jitter: {late:?}"
        );
    }
}
