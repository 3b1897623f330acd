//! Measurement of the time for which tasks of this process wait for a CPU core. If other programs
//! use the machine, a response may be late although the service was fast. The delay is therefore
//! subtracted from the duration of a request before the duration is compared with a limit.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// Time between two measurements of the delay.
const INTERVAL: Duration = Duration::from_millis(10);

/// Shortest delay that is recorded. Timers of tokio are accurate to one millisecond, so shorter
/// delays are not a sign of a busy machine.
const SHORTEST: Duration = Duration::from_millis(5);

/// Age at which a recorded delay may be discarded. No request takes as long, so no request that is
/// still in flight was affected by the delay.
const KEPT: Duration = Duration::from_secs(30);

/// A period in which a task was ready to run, but waited for a CPU core.
struct Delay {
    /// Time at which the delay ended.
    end: Instant,
    duration: Duration,
}

/// Recorded delays (waits for a CPU core) of about the last 30 seconds, oldest first.
#[derive(Default)]
pub(crate) struct MachineDelay(Mutex<VecDeque<Delay>>);

impl MachineDelay {
    /// Measures and records how long a ready task waits for a CPU core, until the returned future
    /// is dropped.
    pub(crate) async fn measure(&self) {
        loop {
            let began = Instant::now();
            sleep(INTERVAL).await;
            let duration = began.elapsed().saturating_sub(INTERVAL);
            if duration > SHORTEST {
                self.record(Instant::now(), duration);
            }
        }
    }

    /// Returns the total duration of the recorded delays since `start`.
    pub(crate) fn since(&self, start: Instant) -> Duration {
        let delays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = delays.iter().rev().take_while(|delay| delay.end > start);
        recent
            .map(|delay| delay.duration.min(delay.end - start))
            .sum()
    }

    fn record(&self, end: Instant, duration: Duration) {
        let mut delays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while delays.front().is_some_and(|oldest| end - oldest.end > KEPT) {
            delays.pop_front();
        }
        delays.push_back(Delay { end, duration });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_delay_before_the_start_of_a_request_is_not_counted() {
        let delays = MachineDelay::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        delays.record(at(0), Duration::from_millis(300));
        delays.record(at(40), Duration::from_millis(100));
        delays.record(at(200), Duration::from_millis(50));
        assert_eq!(delays.since(start), Duration::from_millis(90));
        assert_eq!(delays.since(at(200)), Duration::ZERO);
    }

    #[test]
    fn machine_delay_older_than_30_s_is_discarded_when_a_new_delay_is_recorded() {
        let delays = MachineDelay::default();
        let start = Instant::now();
        delays.record(start, Duration::from_millis(100));
        delays.record(start + KEPT * 2, Duration::from_millis(100));
        assert_eq!(delays.0.lock().expect("no poisoned lock").len(), 1);
    }
}
