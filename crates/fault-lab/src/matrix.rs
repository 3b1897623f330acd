//! Fault scenarios that the service must tolerate.

mod clock;
mod cluster;
mod limits;
mod network;
mod one_redis;
mod refusals;
mod sentinel;
mod stopping;

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::future::{FutureExt, LocalBoxFuture};

use crate::{
    progress::say,
    stage::{Lab, Outcome},
    tally::Tally,
};

/// A fault scenario: a fault, the behaviour that is expected of the service, and the function that
/// runs the scenario.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    /// Expected behaviour of the service, as text for the table.
    pub(crate) expected: &'static str,
    /// Rule for the responses during the fault, which is checked after the scenario.
    expect: Expect,
    run: fn(&Lab) -> LocalBoxFuture<'_, Outcome>,
}

/// Rule for the responses during a fault. Rules for every response, such as the maximum duration,
/// are checked in addition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// No request fails.
    NoFailures,
    /// At least one request is answered with 503 and this problem code.
    Refused(&'static str),
    /// At least one request is answered with 503 and this problem code. The circuit breaker opens
    /// within 1.2 s of the first failure. If a later request fails, it takes at most
    /// [`Lab::immediate_limit`].
    RefusedAtOnce(&'static str),
    /// At least one request is answered with 503 and this problem code. No request is answered with
    /// 503 and another problem code.
    RefusedOnly(&'static str),
    /// Requests may succeed or fail.
    Any,
}

impl Expect {
    /// Counts a violated expectation in `tally` if the responses break this rule.
    fn check(self, tally: &mut Tally, immediate_limit: Duration) {
        let refused = |code| tally.responses.contains_key(&format!("503 {code}"));
        let violation = match self {
            Self::NoFailures => tally.last_failure.map(|_| "a request failed"),
            Self::Any => None,
            Self::Refused(code) | Self::RefusedAtOnce(code) | Self::RefusedOnly(code)
                if !refused(code) =>
            {
                Some("no request was answered with the expected 503")
            }
            Self::RefusedAtOnce(_) if tally.slowest_late_503 > immediate_limit => {
                Some("a later 503 was not immediate")
            }
            Self::RefusedOnly(code) => {
                let other = |name: &String| name.starts_with("503") && !name.ends_with(code);
                let others = tally.responses.keys().any(other);
                others.then_some("a request was answered with an unexpected 503")
            }
            _ => None,
        };
        if let Some(violation) = violation {
            tally.add_violation(violation);
        }
    }
}

/// Builds a fault scenario: `row!("the fault", "the expected behaviour", Expect::..., function)`.
macro_rules! row {
    ($fault:literal, $expected:literal, $expect:expr, $run:expr $(,)?) => {
        $crate::matrix::Row {
            fault: $fault,
            expected: $expected,
            expect: $expect,
            run: |lab| Box::pin($run(lab)),
        }
    };
}
pub(crate) use row;

/// A group of related fault scenarios. The report has one table for each group.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// Returns all fault scenarios, grouped by section.
pub(crate) fn sections() -> Vec<Section> {
    let section = |name, rows| Section { name, rows };
    vec![
        section("One Redis", one_redis::rows()),
        section("Errors that Redis returns", refusals::rows()),
        section("The network", network::rows()),
        section(
            "Sentinel: a primary, two replicas, three sentinels",
            sentinel::rows(),
        ),
        section("Cluster: three primaries", cluster::rows()),
        section("Clocks and host names", clock::rows()),
        section("Clients and host resources", limits::rows()),
        section("Shutdown", stopping::rows()),
    ]
}

/// The result of a fault scenario, with the name of the fault and the expected behaviour as texts
/// for the result table.
pub(crate) struct Result {
    pub(crate) fault: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) outcome: Outcome,
}

/// Runs a fault scenario, prints the measured behaviour to standard error, and returns the result.
/// If the scenario panics, the result contains a violated expectation.
pub(crate) async fn run(row: &Row, lab: &Lab) -> Result {
    let began = Instant::now();
    let finished = AssertUnwindSafe((row.run)(lab)).catch_unwind().await;
    let mut outcome = finished.unwrap_or_else(|_| {
        let mut outcome = Outcome::default();
        outcome.tally.add_violation("the lab failed to run it");
        outcome
    });
    if let Some(reason) = outcome.impossible {
        say(&format!("{:<64} not possible here: {reason}", row.fault));
    } else {
        row.expect.check(&mut outcome.tally, lab.immediate_limit);
    }
    say(&format!(
        "{:<64} {:>5.1} s  slowest {:>4} ms  recovered {:>9}  violations {}",
        row.fault,
        began.elapsed().as_secs_f64(),
        outcome.tally.slowest.as_millis(),
        recovery(outcome.recovered_after),
        outcome.tally.violations_text(),
    ));
    Result {
        fault: row.fault,
        expected: row.expected,
        outcome,
    }
}

/// Formats a recovery time: `at once` for less than 10 ms, seconds such as `1.25 s` otherwise, and
/// `-` if no recovery time was measured.
pub(crate) fn recovery(after: Option<Duration>) -> String {
    match after {
        None => "-".to_owned(),
        Some(after) if after < Duration::from_millis(10) => "at once".to_owned(),
        Some(after) => format!("{:.2} s", after.as_secs_f64()),
    }
}
