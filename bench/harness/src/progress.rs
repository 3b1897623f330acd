//! What people see while it runs.

use std::io::{Write, stderr};

/// Writes a line for whoever watches; what is asked for goes elsewhere.
pub(crate) fn say(line: &str) {
    // Nobody may be watching.
    let _ = writeln!(stderr(), "{line}");
}
