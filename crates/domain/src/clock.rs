//! The store's clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use time::OffsetDateTime;

/// The time as the store sees it, readable at any moment without asking the store.
///
/// It keeps the distance between the store's clock and the machine's monotonic clock, so that
/// neither a wrong wall clock nor a step of it ends a session early or late. An adapter
/// corrects it with [`correct`](Self::correct) at each report of the store's time; until then it
/// follows the machine's wall clock as it was when the value was made. Reading it costs one monotonic
/// clock reading and one atomic load.
///
/// It can run backwards: when the store's own clock was set back, or when several servers of a store
/// disagree. A reader compares two readings only where that does no harm.
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
    /// Microseconds between the Unix epoch and `started`, on the store's clock.
    started_at_micros: AtomicI64,
}

impl StoreClock {
    /// A clock that follows the machine's wall clock until it is [`set`](Self::set).
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

    /// The store's time now, UTC, to the microsecond.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        let started_at = self.started_at_micros.load(Ordering::Relaxed);
        let now = started_at.saturating_add(micros(self.started.elapsed()));
        OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::microseconds(now))
    }

    /// Sets the clock: the store's time is `now`.
    pub fn set(&self, now: OffsetDateTime) {
        self.correct(now, Duration::ZERO);
    }

    /// Corrects the clock with a reply of the store: its time was `reported`, at most `age` ago.
    ///
    /// The clock moves only as far as the reply proves it wrong. A reply that took long to arrive
    /// proves little, so it does not set the clock back.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_store_when_it_is_a_day_off() {
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
    fn a_slow_reply_does_not_set_the_clock_back() {
        let clock = StoreClock::from_system();
        let reported = clock.now();
        let before = reported + Duration::from_secs(1);
        clock.set(before);
        clock.correct(reported, Duration::from_secs(2));
        assert!(clock.now() >= before);
    }

    #[test]
    fn a_reply_moves_the_clock_only_as_far_as_it_proves_it_wrong() {
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
    fn never_runs_backwards_by_itself() {
        let clock = StoreClock::from_system();
        let earlier = clock.now();
        assert!(clock.now() >= earlier);
    }
}
