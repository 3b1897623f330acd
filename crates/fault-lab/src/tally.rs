//! What came of the requests of a stretch of time.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

/// So long after the first failure nobody should have to wait any more to be refused: the circuit
/// breaker is open.
const KNOWN_AFTER: Duration = Duration::from_millis(1_200);

/// Counts of answers, and of what must never happen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// By status, and code where there is one: `200`, `503 store_unavailable`, `none`.
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) slowest: Duration,
    /// When the first, and the last, request ended that was not served.
    pub(crate) first_failure: Option<Instant>,
    pub(crate) last_failure: Option<Instant>,
    /// The slowest 503 to a request of the later outage, when everybody knows of it.
    pub(crate) slowest_refusal: Duration,
    /// Logins of nobody in particular that were refused.
    pub(crate) failed_logins: u64,
    /// By what was wrong.
    pub(crate) violations: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn answered(&mut self, answer: &str, is_served: bool, took: Duration) {
        self.requests += 1;
        *self.answers.entry(answer.to_owned()).or_default() += 1;
        self.slowest = self.slowest.max(took);
        if !is_served {
            let now = Instant::now();
            let first = *self.first_failure.get_or_insert(now);
            self.last_failure = Some(now);
            if (now - took).saturating_duration_since(first) > KNOWN_AFTER {
                self.slowest_refusal = self.slowest_refusal.max(took);
            }
        }
    }

    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        *self.violations.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        for (answer, count) in &other.answers {
            *self.answers.entry(answer.clone()).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
        self.first_failure = self.first_failure.or(other.first_failure);
        self.last_failure = self.last_failure.max(other.last_failure);
        self.slowest_refusal = self.slowest_refusal.max(other.slowest_refusal);
        self.failed_logins += other.failed_logins;
        for (what, count) in &other.violations {
            *self.violations.entry(what.clone()).or_default() += count;
        }
    }

    /// `200: 512, 503 store_unavailable: 40`.
    pub(crate) fn answers_in_words(&self) -> String {
        in_words(&self.answers)
    }

    /// `0`, or what was wrong and how often.
    pub(crate) fn violations_in_words(&self) -> String {
        if self.violations.is_empty() {
            "0".to_owned()
        } else {
            in_words(&self.violations)
        }
    }
}

fn in_words(counts: &BTreeMap<String, u64>) -> String {
    let mut words = String::new();
    for (what, count) in counts {
        let separator = if words.is_empty() { "" } else { ", " };
        let _ = write!(words, "{separator}{what}: {count}");
    }
    words
}
