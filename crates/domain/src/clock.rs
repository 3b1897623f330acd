//! Local copy of the store's clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use time::OffsetDateTime;

/// Local copy of the store's clock. The current time can be read without a request to the store.
///
/// The copy consists of the offset between the store's clock and the machine's monotonic clock. A
/// wrong or adjusted wall clock of the machine therefore has no effect on the copy after its first
/// correction.
///
/// An adapter calls [`correct`](Self::correct) with each time that the store reports. Until the
/// first report, the copy is based on the machine's wall clock. Reading the time costs one reading
/// of the monotonic clock and one atomic load.
///
/// The time can run backwards if the store's clock was set back, or if the clocks of several
/// servers of a store differ. Code may compare two readings only if a step back does no harm.
///
/// ```
/// use std::time::Duration;
/// use tee_session_domain::StoreClock;
///
/// let clock = StoreClock::from_system();
/// let later = clock.now() + Duration::from_secs(60);
/// clock.set(later);
/// assert!(clock.now() >= later);
/// ```
#[derive(Debug)]
pub struct StoreClock {
    started: Instant,
    /// Time on the store's clock at the instant in the field `started`, in microseconds since the
    /// Unix epoch.
    started_at_micros: AtomicI64,
}

impl StoreClock {
    /// Creates a local copy that starts with the machine's wall clock time. The copy follows the
    /// store's clock after the first call of [`set`](Self::set) or [`correct`](Self::correct).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn from_system() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            started: Instant::now(),
            started_at_micros: AtomicI64::new(micros(since_epoch)),
        }
    }

    /// Returns the current time on the store's clock, in UTC and with microsecond resolution.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        let started_at = self.started_at_micros.load(Ordering::Relaxed);
        let now = started_at.saturating_add(micros(self.started.elapsed()));
        OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::microseconds(now))
    }

    /// Sets the local copy to `now`, which is the current time on the store's clock.
    pub fn set(&self, now: OffsetDateTime) {
        self.correct(now, Duration::ZERO);
    }

    /// Corrects this copy of the store's clock with a time from a reply of the store. The store
    /// read the time `reported` from its clock at most `age` ago.
    ///
    /// The current time is therefore between `reported` and `reported + age`. If the local copy
    /// already shows a time in this range, it does not change. Otherwise, the copy moves to the
    /// nearest time in the range. A slow reply gives a wide range, so it rarely moves the copy.
    pub fn correct(&self, reported: OffsetDateTime, age: Duration) {
        let since_epoch = reported - OffsetDateTime::UNIX_EPOCH;
        let reported = i64::try_from(since_epoch.whole_microseconds()).unwrap_or(i64::MAX);
        let earliest = reported.saturating_sub(micros(self.started.elapsed()));
        let latest = earliest.saturating_add(micros(age));
        let started_at = self.started_at_micros.load(Ordering::Relaxed);
        let corrected = started_at.clamp(earliest, latest);
        self.started_at_micros.store(corrected, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Converts a duration to the signed duration type of the `time` crate, which can be added to a
/// time. A duration that is too long for this type becomes the maximum of the type.
pub(crate) fn to_signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_clock_follows_a_store_clock_that_differs_by_one_day() {
        let clock = StoreClock::from_system();
        let tomorrow = clock.now() + time::Duration::DAY;
        clock.set(tomorrow);
        let now = clock.now();
        assert!(
            now >= tomorrow && now < tomorrow + Duration::from_secs(60),
            "{now}"
        );
        let yesterday = now - time::Duration::days(2);
        clock.set(yesterday);
        assert!(clock.now() < now);
    }

    #[test]
    fn slow_store_reply_does_not_set_the_local_clock_back() {
        let clock = StoreClock::from_system();
        let reported = clock.now();
        let before = reported + Duration::from_secs(1);
        clock.set(before);
        clock.correct(reported, Duration::from_secs(2));
        assert!(clock.now() >= before);
    }

    #[test]
    fn store_reply_moves_the_local_clock_only_to_the_nearest_possible_time() {
        const SLACK: Duration = Duration::from_secs(60);
        let (hour, age) = (time::Duration::HOUR, Duration::from_secs(600));
        let clock = StoreClock::from_system();
        let reported = clock.now() + hour;
        clock.correct(reported, age);
        let now = clock.now();
        assert!(now >= reported && now < reported + SLACK, "{now}");
        let reported = now - hour;
        clock.correct(reported, age);
        let now = clock.now();
        assert!(
            now >= reported + age && now < reported + age + SLACK,
            "{now}"
        );
    }

    #[test]
    fn local_clock_without_corrections_never_runs_backwards() {
        let clock = StoreClock::from_system();
        let earlier = clock.now();
        assert!(clock.now() >= earlier);
    }
}
