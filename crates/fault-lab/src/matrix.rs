//! Every fault that the service must bear, one after the other.

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
};

/// A fault, what is demanded of the service, and how to provoke it.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) demanded: &'static str,
    run: fn(&Lab) -> LocalBoxFuture<'_, Outcome>,
}

/// `row!("the fault", "what is demanded", function)`.
macro_rules! row {
    ($fault:literal, $demanded:literal, $run:expr) => {
        $crate::matrix::Row {
            fault: $fault,
            demanded: $demanded,
            run: |lab| Box::pin($run(lab)),
        }
    };
}
pub(crate) use row;

/// Rows that belong together.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// The whole matrix.
pub(crate) fn sections() -> Vec<Section> {
    let section = |name, rows| Section { name, rows };
    vec![
        section("One Redis", one_redis::rows()),
        section("What Redis refuses", refusals::rows()),
        section("The network", network::rows()),
        section(
            "Sentinel: a primary, two replicas, three sentinels",
            sentinel::rows(),
        ),
        section("Cluster: three primaries", cluster::rows()),
        section("Clocks and names", clock::rows()),
        section("Clients and the machine", limits::rows()),
        section("Stopping", stopping::rows()),
    ]
}

/// A row, and what came of it.
pub(crate) struct Result {
    pub(crate) fault: &'static str,
    pub(crate) demanded: &'static str,
    pub(crate) outcome: Outcome,
}

/// Runs a row, and tells how it went.
pub(crate) async fn run(row: &Row, lab: &Lab) -> Result {
    let began = Instant::now();
    let finished = AssertUnwindSafe((row.run)(lab)).catch_unwind().await;
    let outcome = finished.unwrap_or_else(|_| {
        let mut outcome = Outcome::default();
        outcome.tally.violated("the lab could not finish it");
        outcome
    });
    say(&format!(
        "{:<64} {:>5.1} s  worst {:>4} ms  recovered {:>9}  violations {}",
        row.fault,
        began.elapsed().as_secs_f64(),
        outcome.tally.slowest.as_millis(),
        recovery(outcome.recovered_after),
        outcome.tally.violations_in_words(),
    ));
    Result {
        fault: row.fault,
        demanded: row.demanded,
        outcome,
    }
}

/// `at once`, or in seconds.
pub(crate) fn recovery(after: Option<Duration>) -> String {
    match after {
        None => "-".to_owned(),
        Some(after) if after < Duration::from_millis(10) => "at once".to_owned(),
        Some(after) => format!("{:.2} s", after.as_secs_f64()),
    }
}
