//! Repeats a test that failed because the machine was too slow. Each repetition uses longer times.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, resume_unwind},
    time::{Duration, Instant},
};

use futures_util::FutureExt;

/// Factors by which the times of a test are multiplied, one for each attempt. If the last attempt
/// fails, the test fails.
const FACTORS: [u32; 5] = [1, 2, 4, 8, 16];

/// Runs a test that waits for real time, such as a test of a session's expiry. If the test panics
/// after a delay, repeats the test with longer times, up to four times.
///
/// On a busy machine, a wait returns later than requested, and a call takes longer than usual. A
/// session can then expire before the test uses it, although the store works correctly. A panic
/// counts as a failure only if the attempt was late by less than `tolerated_delay`, multiplied by
/// the factor of the attempt. `tolerated_delay` is the shortest delay that can make a correct store
/// fail in the first attempt. A test of a faulty store still fails, because a test that panics in
/// every attempt fails in the last one.
///
/// The test takes all its times from [`Pace`].
///
/// ```
/// use std::time::Duration;
/// use tee_session_domain::contract::repeat_if_late;
///
/// # async fn sleep(duration: Duration) { std::thread::sleep(duration / 100) }
/// # futures_util::FutureExt::now_or_never(async {
/// // A session with a TTL of 2 s is used after 1.5 s, so a delay of 0.5 s is tolerated.
/// repeat_if_late(Duration::from_millis(500), async |pace| {
///     let idle_timeout = pace.seconds(2);
///     // ... creates a session ...
///     pace.wait(Duration::from_millis(1_500), sleep).await;
///     // ... uses the session ...
/// # let _ = idle_timeout;
/// })
/// .await;
/// # })
/// # .unwrap();
/// ```
pub async fn repeat_if_late(tolerated_delay: Duration, test: impl AsyncFn(&Pace)) {
    let [first @ .., last] = FACTORS;
    for factor in first {
        let pace = Pace::with_factor(factor);
        // The attempt shares no state with the next attempt. A panic therefore cannot leave a
        // broken state.
        let Err(panic) = AssertUnwindSafe(test(&pace)).catch_unwind().await else {
            return;
        };
        let delay = pace.delay();
        if delay < tolerated_delay * factor {
            resume_unwind(panic);
        }
        report_repetition(delay);
    }
    test(&Pace::with_factor(last)).await;
}

#[expect(
    clippy::print_stderr,
    reason = "explains a panic that the output of the test already contains"
)]
fn report_repetition(delay: Duration) {
    eprintln!("the machine was late by {delay:?}, so the test is repeated with longer times");
}

/// Times of one attempt of [`repeat_if_late`], multiplied by the factor of the attempt. Also
/// measures the delay of the attempt.
#[derive(Debug)]
pub struct Pace {
    factor: u32,
    started: Instant,
    /// Total real time that the calls of [`wait`](Self::wait) have taken.
    in_waits: Cell<Duration>,
    /// Sum of the delays of all waits: the time between the requested end and the actual end.
    late: Cell<Duration>,
}

impl Pace {
    fn with_factor(factor: u32) -> Self {
        Self {
            factor,
            started: Instant::now(),
            in_waits: Cell::default(),
            late: Cell::default(),
        }
    }

    /// Returns `seconds`, multiplied by the factor of the attempt. A test uses the result as a TTL
    /// or as a limit.
    #[must_use]
    pub fn seconds(&self, seconds: u64) -> u64 {
        seconds * u64::from(self.factor)
    }

    /// Returns `duration`, multiplied by the factor of this attempt of the test. If the machine was
    /// too slow for a test, the test is repeated with longer times.
    #[must_use]
    pub fn stretch(&self, duration: Duration) -> Duration {
        duration * self.factor
    }

    /// Waits for `duration`, multiplied by the factor of the attempt. `wait` sleeps for the given
    /// time, or advances the clock of a store.
    pub async fn wait(&self, duration: Duration, wait: impl AsyncFnOnce(Duration)) {
        let duration = self.stretch(duration);
        let began = Instant::now();
        wait(duration).await;
        let took = began.elapsed();
        self.in_waits.set(self.in_waits.get() + took);
        self.late
            .set(self.late.get() + took.saturating_sub(duration));
    }

    /// Returns the delay of the attempt so far. The delay is the time by which waits ended too
    /// late, plus the time spent outside of waits.
    fn delay(&self) -> Duration {
        let outside = self.started.elapsed().saturating_sub(self.in_waits.get());
        outside + self.late.get()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const TOLERATED: Duration = Duration::from_millis(20);

    /// Runs [`repeat_if_late`] with a test. The wait in attempt `i` ends too late by `late[i]`, and
    /// the attempt then panics. If `late` has no entry `i`, the attempt is not delayed and passes.
    /// Returns for each attempt the factor by which its times were multiplied, and `true` if the
    /// last attempt passed.
    fn attempts(late: &[Duration]) -> (Vec<u32>, bool) {
        let factors = std::sync::Mutex::new(Vec::new());
        let run = AssertUnwindSafe(|| {
            let test = repeat_if_late(TOLERATED, async |pace| {
                let attempt = {
                    let mut factors = factors.lock().unwrap();
                    factors.push(pace.factor);
                    factors.len() - 1
                };
                let late = late.get(attempt).copied();
                pace.wait(Duration::ZERO, async |_| {
                    std::thread::sleep(late.unwrap_or_default());
                })
                .await;
                assert!(late.is_none(), "the session has expired");
            });
            test.now_or_never().unwrap();
        });
        let passed = catch_unwind(run).is_ok();
        (factors.into_inner().unwrap(), passed)
    }

    #[test]
    fn test_that_fails_after_a_delay_is_repeated_with_longer_times() {
        let delays = [TOLERATED * 2, TOLERATED * 3];
        assert_eq!(attempts(&delays), (vec![1, 2, 4], true));
    }

    #[test]
    fn test_that_passes_is_not_repeated() {
        assert_eq!(attempts(&[]), (vec![1], true));
    }

    #[test]
    fn test_that_fails_in_every_attempt_fails_after_five_attempts() {
        let delays = FACTORS.map(|factor| TOLERATED * factor);
        assert_eq!(attempts(&delays), (FACTORS.to_vec(), false));
    }

    #[test]
    fn test_that_fails_without_a_delay_is_not_repeated() {
        // Much more than this thread can be delayed, so the failure does not count as late.
        let tolerated = Duration::from_secs(3_600);
        let attempts = std::sync::Mutex::new(0);
        let run = AssertUnwindSafe(|| {
            let test = repeat_if_late(tolerated, async |_| {
                *attempts.lock().unwrap() += 1;
                panic!("the store is faulty");
            });
            test.now_or_never().unwrap();
        });
        assert!(catch_unwind(run).is_err());
        assert_eq!(attempts.into_inner().unwrap(), 1);
    }

    #[test]
    fn time_outside_waits_counts_as_a_delay_but_the_requested_wait_time_does_not() {
        let pace = Pace::with_factor(2);
        assert_eq!(pace.seconds(3), 6);
        let requested = Duration::from_millis(200);
        let wait = pace.wait(requested, async |duration| {
            assert_eq!(duration, requested * 2);
            std::thread::sleep(duration);
        });
        wait.now_or_never().unwrap();
        let before = pace.delay();
        assert!(pace.started.elapsed() - before >= requested * 2);
        std::thread::sleep(TOLERATED);
        assert!(pace.delay() >= before + TOLERATED);
    }
}
