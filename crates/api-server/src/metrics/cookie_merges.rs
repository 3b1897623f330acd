//! Counter of merges of cookies that a site has set.

use metrics::{Counter, counter};
use tee_session_domain::{MergedSession, SessionError, UpdateError};

use crate::metrics::cached::Meters;

thread_local! {
    static MERGES: Meters<&'static str, Counter> = const { Meters::new(counter_of) };
}

/// Outcomes of a merge of cookies: the values of the metrics label `outcome`.
const OUTCOMES: [&str; 6] = [
    "merged",
    "unchanged",
    "refused",
    "contended",
    "gone",
    "failed",
];

/// Counts the outcome of a merge. Requests that fail before the session is loaded are not counted.
pub(crate) fn count(result: &Result<MergedSession, UpdateError>) {
    let [merged, unchanged, refused, contended, gone, failed] = OUTCOMES;
    let outcome = match result {
        Ok(session) if session.is_changed => merged,
        Ok(_) => unchanged,
        Err(UpdateError::Session(SessionError::Contended)) => contended,
        Err(UpdateError::Session(SessionError::NotFound)) => gone,
        Err(UpdateError::Session(_)) => failed,
        Err(_) => refused,
    };
    MERGES.with(|merges| merges.with(outcome, |counter| counter.increment(1)));
}

/// Registers the counters of all outcomes with the value 0.
pub(crate) fn start_at_zero() {
    for outcome in OUTCOMES {
        let _ = counter_of(outcome);
    }
}

fn counter_of(outcome: &'static str) -> Counter {
    counter!("tee_session_cookie_merges_total", "outcome" => outcome)
}
