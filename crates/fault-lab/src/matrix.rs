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
    tally::Tally,
};

/// A fault, what is demanded of the service, and how to provoke it.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) demanded: &'static str,
    expect: Expect,
    run: fn(&Lab) -> LocalBoxFuture<'_, Outcome>,
}

/// What the answers during a fault must show, beside what every answer must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Nobody notices.
    Unnoticed,
    /// Some are refused with this code.
    Refused(&'static str),
    /// The same, and soon everybody is refused at once.
    RefusedAtOnce(&'static str),
    /// Some are refused with this code, and none with another.
    RefusedOnly(&'static str),
    /// It may be noticed, and need not.
    Whatever,
}

/// Refused at once: far less than a command may take, and what two busy cores add.
const AT_ONCE: Duration = Duration::from_millis(100);

impl Expect {
    fn check(self, tally: &mut Tally) {
        let refused = |code| tally.answers.contains_key(&format!("503 {code}"));
        let violation = match self {
            Self::Unnoticed => tally.last_failure.map(|_| "it was noticed"),
            Self::Whatever => None,
            Self::Refused(code) | Self::RefusedAtOnce(code) | Self::RefusedOnly(code)
                if !refused(code) =>
            {
                Some("nothing was refused as it should be")
            }
            Self::RefusedAtOnce(_) if tally.slowest_refusal > AT_ONCE => {
                Some("not refused at once")
            }
            Self::RefusedOnly(code) => {
                let other = |name: &String| name.starts_with("503") && !name.ends_with(code);
                let others = tally.answers.keys().any(other);
                others.then_some("something else was refused")
            }
            _ => None,
        };
        if let Some(violation) = violation {
            tally.violated(violation);
        }
    }
}

/// `row!("the fault", "what is demanded", Expect::..., function)`.
macro_rules! row {
    ($fault:literal, $demanded:literal, $expect:expr, $run:expr $(,)?) => {
        $crate::matrix::Row {
            fault: $fault,
            demanded: $demanded,
            expect: $expect,
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
    let mut outcome = finished.unwrap_or_else(|_| {
        let mut outcome = Outcome::default();
        outcome.tally.violated("the lab could not finish it");
        outcome
    });
    if let Some(why) = outcome.impossible {
        say(&format!("{:<64} not possible here: {why}", row.fault));
    } else {
        row.expect.check(&mut outcome.tally);
    }
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
