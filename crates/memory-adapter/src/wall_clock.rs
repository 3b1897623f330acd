//! Detects that the machine's wall clock is set to another time while the process runs.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use tee_session_domain::monotonic_time;

/// Minimum step of the wall clock that counts as a correction. Smaller differences occur because
/// the two clocks are not read at exactly the same time.
const MIN_STEP: Duration = Duration::from_secs(1);

/// Sum of the corrections of the wall clock since the start of the process.
///
/// The store decides expiry by a monotonic clock, so that a correction of the wall clock ends no
/// session. The times that the store shows must follow the correction. Otherwise, a machine that
/// starts with a wrong time would show wrong times until the process ends.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// Difference between the wall clock and [`monotonic_time`] at the last check, in microseconds.
    offset_micros: AtomicI64,
    correction_micros: AtomicI64,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self {
            offset_micros: AtomicI64::new(read_offset()),
            correction_micros: AtomicI64::new(0),
        }
    }

    /// Returns the sum of the corrections of the wall clock since the start of the process.
    pub(crate) fn correction(&self) -> time::Duration {
        time::Duration::microseconds(self.correction_micros.load(Ordering::Relaxed))
    }

    /// Checks if the wall clock was corrected since the last check. If so, adds the correction to
    /// the sum.
    pub(crate) fn check(&self) {
        self.note_offset(read_offset());
    }

    fn note_offset(&self, offset: i64) {
        let last = self.offset_micros.load(Ordering::Relaxed);
        let step = offset.saturating_sub(last);
        if Duration::from_micros(step.unsigned_abs()) < MIN_STEP {
            return;
        }
        // If several workers notice the same correction, it counts once.
        let is_first =
            self.offset_micros
                .compare_exchange(last, offset, Ordering::Relaxed, Ordering::Relaxed);
        if is_first.is_ok() {
            self.correction_micros.fetch_add(step, Ordering::Relaxed);
        }
    }

    /// Simulates a correction of the wall clock by `step`.
    #[cfg(test)]
    pub(crate) fn step(&self, step: time::Duration) {
        let step = i64::try_from(step.whole_microseconds()).unwrap();
        self.note_offset(self.offset_micros.load(Ordering::Relaxed) + step);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the wall clock is read to notice its corrections"
)]
fn read_offset() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    micros(since_epoch.unwrap_or(Duration::ZERO)).saturating_sub(micros(monotonic_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_corrections_of_at_least_a_second_add_up_and_smaller_ones_are_ignored() {
        let clock = WallClock::new();
        clock.check();
        assert_eq!(clock.correction(), time::Duration::ZERO);
        clock.step(time::Duration::milliseconds(-900));
        assert_eq!(clock.correction(), time::Duration::ZERO);
        clock.step(time::Duration::hours(2));
        clock.step(time::Duration::hours(-3));
        assert_eq!(clock.correction(), time::Duration::hours(-1));
    }
}
