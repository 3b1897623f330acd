//! Fault scenarios that the service must tolerate.

mod clock;
mod cluster;
mod expect;
mod limits;
mod network;
mod one_redis;
mod refusals;
mod row;
mod sentinel;
mod stopping;
mod upstream;

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::future::FutureExt;

pub(crate) use self::row::Row;
use crate::stage::{Lab, Outcome};

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
        section("The upstream gateway", upstream::rows()),
    ]
}

/// The result of a fault scenario.
pub(crate) struct Result<'a> {
    pub(crate) row: &'a Row,
    pub(crate) outcome: Outcome,
    took: Duration,
}

impl Result<'_> {
    /// Formats the result as a line for the terminal.
    pub(crate) fn describe(&self) -> String {
        let fault = self.row.fault;
        if let Some(reason) = self.outcome.impossible {
            return format!("{fault:<64} not possible here: {reason}");
        }
        format!(
            "{fault:<64} {:>5.1} s  slowest {:>4} ms  recovered {:>9}  merges {:>4}  violations {}",
            self.took.as_secs_f64(),
            self.outcome.tally.slowest.as_millis(),
            recovery(self.outcome.recovered_after),
            self.outcome.tally.merges,
            self.outcome.tally.violations_text(),
        )
    }
}

/// Runs a fault scenario. If the scenario panics, the result contains a violated expectation.
pub(crate) async fn run<'a>(row: &'a Row, lab: &Lab) -> Result<'a> {
    let began = Instant::now();
    let finished = AssertUnwindSafe((row.run)(lab)).catch_unwind().await;
    let mut outcome = finished.unwrap_or_else(|_| {
        let mut outcome = Outcome::default();
        outcome.tally.add_violation("the lab failed to run it");
        outcome
    });
    if outcome.impossible.is_none() {
        row.expect.check(&mut outcome.tally, lab.immediate_limit);
    }
    Result {
        row,
        outcome,
        took: began.elapsed(),
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
