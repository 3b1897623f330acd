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

use futures_util::{StreamExt, future::FutureExt, stream::FuturesOrdered};
use tokio::sync::Semaphore;

use self::row::Row;
use crate::{
    progress::say,
    stage::{Lab, Outcome},
};

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

/// Results of fault scenarios, in the order of the matrix, each group with the name of its section.
pub(crate) type Results<'a> = Vec<(&'static str, Vec<Result<'a>>)>;

/// Runs the fault scenarios for which the name of the fault or of its section contains `only`, at
/// most `jobs` at the same time. Prints each result.
pub(crate) async fn run_all<'a>(
    sections: &'a [Section],
    only: &str,
    jobs: usize,
    lab: &Lab,
) -> Results<'a> {
    let rows = sections.iter().flat_map(|section| {
        let is_selected = |row: &&Row| section.name.contains(only) || row.fault.contains(only);
        let rows = section.rows.iter().filter(is_selected);
        rows.map(|row| (section.name, row))
    });
    let free = &Semaphore::new(jobs);
    let runs = rows.map(|(section, row)| async move {
        let _permit = free.acquire().await;
        (section, run(row, lab).await)
    });
    // The semaphore limits the runs. `buffered(jobs)` would start no further scenario while the
    // oldest unfinished one still runs.
    let mut finished = runs.collect::<FuturesOrdered<_>>();
    let mut results = Results::new();
    while let Some((section, result)) = finished.next().await {
        if results.last().is_none_or(|(name, _)| *name != section) {
            say(&format!("\n{section}"));
            results.push((section, Vec::new()));
        }
        say(&result.describe());
        if let Some((_, of_section)) = results.last_mut() {
            of_section.push(result);
        }
    }
    results
}

/// Repeats each scenario in which a busy machine can have caused all violations, such as late
/// responses, and replaces its result. No other scenario runs at the same time as a repetition.
pub(crate) async fn repeat_timed(results: &mut Results<'_>, lab: &Lab) {
    let results = results.iter_mut().flat_map(|(_, of_section)| of_section);
    for result in results {
        if result.outcome.tally.has_only_timed_violations() {
            say(&format!("\nonce more, alone: {}", result.describe()));
            *result = run(result.row, lab).await;
            say(&result.describe());
        }
    }
}

/// Runs a fault scenario. If the scenario panics, the result contains a violated expectation.
async fn run<'a>(row: &'a Row, lab: &Lab) -> Result<'a> {
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
