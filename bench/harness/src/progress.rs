//! Prints progress messages.

use std::io::{Write, stderr};

/// Prints a progress message to standard error.
pub(crate) fn say(line: &str) {
    // A write error is ignored, because the run can continue if standard error is closed.
    let _ = writeln!(stderr(), "{line}");
}
