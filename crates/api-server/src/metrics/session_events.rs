//! Counters of session lifecycle events.

use metrics::{Counter, counter};
use tee_session_domain::SessionEvent;

use crate::metrics::cached::Meters;

thread_local! {
    static EVENTS: Meters<SessionEvent, Counter> = const { Meters::new(counter_of) };
}

/// Adds the number `sessions` to the counter of the lifecycle event `event`. Serves as the observer
/// for [`SessionManager::with_observer`](tee_session_domain::SessionManager::with_observer).
pub(crate) fn count(event: SessionEvent, sessions: usize) {
    EVENTS.with(|events| events.with(event, |counter| counter.increment(sessions as u64)));
}

pub(crate) fn counter_of(event: SessionEvent) -> Counter {
    match event {
        SessionEvent::Created => counter!("tee_session_sessions_created_total"),
        SessionEvent::Rotated => counter!("tee_session_sessions_rotated_total"),
        SessionEvent::Ended(reason) => {
            counter!("tee_session_sessions_ended_total", "reason" => reason.as_str())
        }
    }
}
