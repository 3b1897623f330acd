//! Pauses between attempts to connect to Redis.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// Generator of the pauses between attempts to connect. The nominal length of a pause doubles from
/// [`FIRST`] (50 ms) up to [`LONGEST`] (1 s). Each pause is a random value between half of the
/// nominal length and the full nominal length. If several instances lose their connections to Redis
/// at the same time, they therefore reconnect at different times.
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
    fn reconnect_pauses_grow_from_50_ms_to_1_s_and_have_random_lengths() {
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
