//! Counter of the cookies that the service ignored.

use metrics::{Counter, counter};
use tee_session_domain::{CookieProblem, IgnoreReason, IgnoredLine};

/// Counts cookies that were left out of a session.
pub(crate) fn count(problems: &[CookieProblem]) {
    for problem in problems {
        counter_of(problem.rule.reason()).increment(1);
    }
}

/// Counts `Set-Cookie` lines that were ignored.
pub(crate) fn count_lines(lines: &[IgnoredLine]) {
    for line in lines {
        count_line(line.reason);
    }
}

/// Counts a `Set-Cookie` line that was ignored for `reason`.
pub(crate) fn count_line(reason: IgnoreReason) {
    counter_of(reason.as_str()).increment(1);
}

/// Registers the counters of all reasons with the value 0.
pub(crate) fn start_at_zero() {
    for reason in IgnoreReason::ALL {
        let _ = counter_of(reason.as_str());
    }
}

fn counter_of(reason: &'static str) -> Counter {
    counter!("tee_session_cookies_ignored_total", "reason" => reason)
}
