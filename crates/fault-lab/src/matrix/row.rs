//! Description of a fault scenario, and the macro that builds it.

use futures_util::future::LocalBoxFuture;

use super::expect::Expect;
use crate::stage::{Lab, Outcome};

/// A fault scenario: a fault, the expected behaviour of the service, and the function that runs the
/// scenario.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    /// Expected behaviour of the service, as text for the table.
    pub(crate) expected: &'static str,
    /// Rule for the responses during the fault. The rule is checked after the scenario.
    pub(super) expect: Expect,
    pub(super) run: fn(&Lab) -> LocalBoxFuture<'_, Outcome>,
}

/// Builds a fault scenario: `row!("the fault", "the expected behaviour", Expect::..., function)`.
macro_rules! row {
    ($fault:literal, $expected:literal, $expect:expr, $run:expr $(,)?) => {
        $crate::matrix::row::Row {
            fault: $fault,
            expected: $expected,
            expect: $expect,
            run: |lab| Box::pin($run(lab)),
        }
    };
}
pub(super) use row;
