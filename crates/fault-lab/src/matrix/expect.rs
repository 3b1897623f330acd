//! Rule for the responses during a fault.

use std::time::Duration;

use crate::tally::Tally;

/// Rule for the responses during a fault. Rules for every response, such as the maximum duration,
/// are checked in addition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expect {
    /// No request fails during the fault.
    NoFailures,
    /// At least one request is answered with 503 and this problem code.
    Refused(&'static str),
    /// At least one request is answered with 503 and this problem code. The circuit breaker opens
    /// within 1.2 s of the first failure. After that, a failed request takes at most
    /// [`Lab::immediate_limit`](crate::stage::Lab::immediate_limit).
    RefusedAtOnce(&'static str),
    /// At least one request is answered with 503 and this problem code. No request is answered with
    /// 503 and another problem code.
    RefusedOnly(&'static str),
    /// Requests may succeed or fail during the fault.
    Any,
}

impl Expect {
    /// Checks the responses that `tally` has counted. If they break this rule, adds a violation to
    /// `tally`. A response that took at most `immediate_limit` counts as immediate.
    pub(super) fn check(self, tally: &mut Tally, immediate_limit: Duration) {
        let refused = |code| tally.responses.contains_key(&format!("503 {code}"));
        let violation = match self {
            Self::Refused(code) | Self::RefusedAtOnce(code) | Self::RefusedOnly(code)
                if !refused(code) =>
            {
                Some("no request was answered with the expected 503")
            }
            Self::RefusedOnly(code) => {
                let other = |name: &String| name.starts_with("503") && !name.ends_with(code);
                let others = tally.responses.keys().any(other);
                others.then_some("a request was answered with an unexpected 503")
            }
            _ => None,
        };
        let is_late = tally.slowest_late_503 > immediate_limit;
        let timed_violation = match self {
            Self::NoFailures => tally.last_failure.map(|_| "a request failed"),
            Self::RefusedAtOnce(_) => is_late.then_some("a later 503 was not immediate"),
            _ => None,
        };
        if let Some(violation) = violation {
            tally.add_violation(violation);
        }
        if let Some(violation) = timed_violation {
            tally.add_timed_violation(violation);
        }
    }
}
