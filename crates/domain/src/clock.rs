//! Local copy of the store's clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use time::OffsetDateTime;

/// Local copy of the store's clock. The current time can be read without a request to the store.
///
/// The copy consists of the offset between the store's clock and [`monotonic_time`]. A wrong or
/// adjusted wall clock of the machine therefore has no effect on the copy after its first
/// correction, and the copy stays correct while the machine is suspended.
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
    /// Time on the store's clock when [`monotonic_time`] was 0, in microseconds since the Unix
    /// epoch.
    zero_at_micros: AtomicI64,
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
        let zero_at = micros(since_epoch).saturating_sub(micros(monotonic_time()));
        Self {
            zero_at_micros: AtomicI64::new(zero_at),
        }
    }

    /// Returns the current time on the store's clock, in UTC and with microsecond resolution.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        let zero_at = self.zero_at_micros.load(Ordering::Relaxed);
        let now = zero_at.saturating_add(micros(monotonic_time()));
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
        let earliest = reported.saturating_sub(micros(monotonic_time()));
        let latest = earliest.saturating_add(micros(age));
        let zero_at = self.zero_at_micros.load(Ordering::Relaxed);
        let corrected = zero_at.clamp(earliest, latest);
        self.zero_at_micros.store(corrected, Ordering::Relaxed);
    }
}

/// Returns the time since an arbitrary fixed moment. This time never runs backwards, and setting
/// the wall clock has no effect on the result. On Linux, the time for which the machine was
/// suspended is included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn monotonic_time() -> Duration {
    // `Instant` of the standard library stands still while a Linux machine is suspended.
    #[cfg(target_os = "linux")]
    if let Ok(time) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) {
        return time.into();
    }
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

/// Returns the same clock as [`StoreClock::from_system`].
impl Default for StoreClock {
    fn default() -> Self {
        Self::from_system()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Converts a duration to the signed duration type of the `time` crate. Only this type can be added
/// to a time. A duration that is too long for this type becomes the maximum of the type.
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

    /// Compares the time with `/proc/uptime`, in which the kernel includes the time for which the
    /// machine was suspended.
    #[cfg(target_os = "linux")]
    #[test]
    fn monotonic_time_includes_the_time_for_which_the_machine_was_suspended() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            let seconds = text.split(' ').next().unwrap().parse().unwrap();
            Duration::from_secs_f64(seconds)
        };
        let tick = Duration::from_millis(20);
        let (before, time, after) = (uptime(), monotonic_time(), uptime());
        assert!(
            before <= time + tick && time <= after + tick,
            "{before:?} {time:?} {after:?}"
        );
    }

    #[test]
    fn local_clock_without_corrections_never_runs_backwards() {
        let clock = StoreClock::from_system();
        let earlier = clock.now();
        assert!(clock.now() >= earlier);
    }
}
