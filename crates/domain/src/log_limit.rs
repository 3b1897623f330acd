//! Rate limit for log lines that clients can trigger at any rate.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Limits the log lines of one event to a number per second, and counts the events that were not
/// logged. During an outage, for example, every request fails for the same reason, and a log line
/// for each of them would flood the log.
///
/// ```
/// use tee_session_domain::LogLimit;
///
/// static FAILURES: LogLimit = LogLimit::per_second(1);
/// assert_eq!(FAILURES.next(), Some(0), "log this failure");
/// assert_eq!(FAILURES.next(), None, "do not log this failure");
/// FAILURES.log(|unlogged| println!("failed, {unlogged:?} failures before were not logged"));
/// ```
#[derive(Debug)]
pub struct LogLimit {
    max_per_second: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    second_began: Option<Instant>,
    logged: u32,
    unlogged: u64,
}

impl LogLimit {
    /// Creates a limit of `max_per_second` log lines per second. The limit is usually stored in a
    /// `static`.
    #[must_use]
    pub const fn per_second(max_per_second: u32) -> Self {
        Self {
            max_per_second,
            state: Mutex::new(State {
                second_began: None,
                logged: 0,
                unlogged: 0,
            }),
        }
    }

    /// Counts an event, and calls `log` unless the event must not be logged. The argument of `log`
    /// is the number of unlogged events since the last logged event, or `None` if there were none.
    pub fn log(&self, log: impl FnOnce(Option<u64>)) {
        if let Some(unlogged) = self.next() {
            log((unlogged > 0).then_some(unlogged));
        }
    }

    /// Counts an event. Returns `None` if the event must not be logged. Otherwise returns the
    /// number of unlogged events since the last logged event.
    pub fn next(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let began = state.second_began;
        if began.is_none_or(|began| began.elapsed() >= Duration::from_secs(1)) {
            state.second_began = Some(Instant::now());
            state.logged = 0;
        }
        if state.logged == self.max_per_second {
            state.unlogged += 1;
            return None;
        }
        state.logged += 1;
        Some(std::mem::take(&mut state.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suppressed_log_events_are_counted_and_reported_with_the_next_logged_event() {
        let limit = LogLimit::per_second(2);
        assert_eq!([limit.next(), limit.next()], [Some(0), Some(0)]);
        assert_eq!([limit.next(), limit.next()], [None, None]);
        let a_second_ago = Instant::now().checked_sub(Duration::from_secs(1));
        limit.state.lock().unwrap().second_began = a_second_ago;
        assert_eq!([limit.next(), limit.next()], [Some(2), Some(0)]);
    }

    #[test]
    fn number_of_unlogged_events_is_left_out_if_it_is_0() {
        let limit = LogLimit::per_second(1);
        let mut logged = Vec::new();
        for _ in 0..3 {
            limit.log(|unlogged| logged.push(unlogged));
        }
        limit.state.lock().unwrap().second_began = None;
        limit.log(|unlogged| logged.push(unlogged));
        assert_eq!(logged, [None, Some(2)]);
    }
}
