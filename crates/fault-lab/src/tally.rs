//! Counts of responses and of violated expectations during a period of a test.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

/// Maximum time from the first failed request until the circuit breaker is open. Requests that
/// start after this time must fail without waiting for Redis.
const BREAKER_OPEN_AFTER: Duration = Duration::from_millis(1_200);

/// Counts of responses, and of violated expectations such as a late response or a lost session.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// Number of responses by status and problem code, such as `200` or `503 store_unavailable`.
    /// The entry `none` counts requests without a response.
    pub(crate) responses: BTreeMap<String, u64>,
    /// Duration of the slowest request, including failed requests.
    pub(crate) slowest: Duration,
    /// Time at which the first failed request ended. `None` if no request has failed.
    pub(crate) first_failure: Option<Instant>,
    /// Time at which the last failed request ended. `None` if no request has failed.
    pub(crate) last_failure: Option<Instant>,
    /// Longest duration of a failed request that started more than [`BREAKER_OPEN_AFTER`] after the
    /// first failure. If other programs on the machine caused a delay, the delay is subtracted.
    /// Zero if there was no such request.
    pub(crate) slowest_late_503: Duration,
    /// Number of error responses to requests that create a session without a subject.
    pub(crate) failed_logins: u64,
    /// Number of requests with an `Idempotency-Key`. In a cluster, each of these requests needs
    /// several partitions.
    pub(crate) keyed_requests: u64,
    /// Number of requests with an `Idempotency-Key` that got 503 `store_unavailable`.
    pub(crate) keyed_failures: u64,
    /// Number of successful merges of `Set-Cookie` lines.
    pub(crate) merges: u64,
    /// Number of violated expectations, by description of the violation.
    pub(crate) violations: BTreeMap<String, u64>,
    /// Number of violated expectations that a busy machine can cause, because they depend on the
    /// duration of requests.
    pub(crate) timed_violations: u64,
}

impl Tally {
    /// Counts the response to one request.
    ///
    /// `response` is a key of [`responses`](Self::responses). `is_served` is `false` if the request
    /// failed. `took` is the duration of the request. `by_machine` is the part of this duration in
    /// which tasks waited for a CPU core.
    pub(crate) fn count_response(
        &mut self,
        response: &str,
        is_served: bool,
        took: Duration,
        by_machine: Duration,
    ) {
        self.requests += 1;
        *self.responses.entry(response.to_owned()).or_default() += 1;
        self.slowest = self.slowest.max(took);
        if !is_served {
            let now = Instant::now();
            let first = *self.first_failure.get_or_insert(now);
            self.last_failure = Some(now);
            if (now - took).saturating_duration_since(first) > BREAKER_OPEN_AFTER {
                self.slowest_late_503 = self.slowest_late_503.max(took.saturating_sub(by_machine));
            }
        }
    }

    /// Counts a violated expectation. `what` describes the violation.
    pub(crate) fn add_violation(&mut self, what: impl Into<String>) {
        *self.violations.entry(what.into()).or_default() += 1;
    }

    /// Counts a violated expectation that a busy machine can cause.
    pub(crate) fn add_timed_violation(&mut self, what: impl Into<String>) {
        self.timed_violations += 1;
        self.add_violation(what);
    }

    /// Returns `true` if there are violations, and a busy machine can have caused all of them.
    pub(crate) fn has_only_timed_violations(&self) -> bool {
        self.timed_violations > 0 && self.timed_violations == self.violations.values().sum::<u64>()
    }

    /// Adds the counts of `other`, which must cover a later period than `self`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        for (response, count) in &other.responses {
            *self.responses.entry(response.clone()).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
        self.first_failure = self.first_failure.or(other.first_failure);
        self.last_failure = self.last_failure.max(other.last_failure);
        self.slowest_late_503 = self.slowest_late_503.max(other.slowest_late_503);
        self.failed_logins += other.failed_logins;
        self.keyed_requests += other.keyed_requests;
        self.keyed_failures += other.keyed_failures;
        self.merges += other.merges;
        self.timed_violations += other.timed_violations;
        for (what, count) in &other.violations {
            *self.violations.entry(what.clone()).or_default() += count;
        }
    }

    /// Formats the number of responses of each kind, such as `200: 512, 503 store_unavailable: 40`.
    pub(crate) fn responses_text(&self) -> String {
        counts_text(&self.responses)
    }

    /// Formats the description and the count of each violated expectation. Returns `0` if there was
    /// no violation.
    pub(crate) fn violations_text(&self) -> String {
        if self.violations.is_empty() {
            "0".to_owned()
        } else {
            counts_text(&self.violations)
        }
    }
}

fn counts_text(counts: &BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for (what, count) in counts {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{what}: {count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenario_is_repeated_only_if_a_busy_machine_can_have_caused_all_its_violations() {
        let mut tally = Tally::default();
        assert!(!tally.has_only_timed_violations());
        tally.add_timed_violation("a late response");
        let mut later = Tally::default();
        later.add_timed_violation("a late response");
        tally.add(&later);
        assert!(tally.has_only_timed_violations());
        tally.add_violation("the session of another client");
        assert!(!tally.has_only_timed_violations());
    }
}
