//! How often failures are logged.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one failure a second into the log, and counts the others: in an outage every request
/// fails, and says the same.
#[derive(Debug)]
pub(crate) struct FailureLog(Mutex<State>);

#[derive(Debug)]
struct State {
    last_logged: Option<Instant>,
    unlogged: u64,
}

impl FailureLog {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State {
            last_logged: None,
            unlogged: 0,
        }))
    }

    /// Whether to log now; if so, how many failures were not logged since the last time.
    pub(crate) fn next(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .last_logged
            .is_some_and(|last| last.elapsed() < INTERVAL)
        {
            state.unlogged += 1;
            return None;
        }
        state.last_logged = Some(Instant::now());
        Some(std::mem::take(&mut state.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_a_second_is_logged_with_the_number_of_the_others() {
        let failures = FailureLog::new();
        assert_eq!(failures.next(), Some(0));
        assert_eq!(failures.next(), None);
        assert_eq!(failures.next(), None);
        failures.0.lock().unwrap().last_logged = Instant::now().checked_sub(INTERVAL);
        assert_eq!(failures.next(), Some(2));
        assert_eq!(failures.next(), None);
    }
}
