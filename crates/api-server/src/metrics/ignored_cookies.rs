//! Counter of the cookies that the service left out of new sessions.

use metrics::{Counter, counter};
use tee_session_domain::CookieProblem;

/// All reasons for leaving out a cookie: the values of the label `reason`.
pub(crate) const REASONS: [&str; 4] = ["syntax", "prefix", "too_large", "full"];

/// Counts cookies that were left out of a session.
pub(crate) fn count(problems: &[CookieProblem]) {
    for problem in problems {
        counter_of(problem.rule.reason()).increment(1);
    }
}

pub(crate) fn counter_of(reason: &'static str) -> Counter {
    counter!("tee_session_cookies_ignored_total", "reason" => reason)
}
