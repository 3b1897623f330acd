//! Runs promtool, the program of Prometheus that checks metrics, rules and queries.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// Path of promtool on Debian, where `scripts/setup` installs it.
const PROGRAM: &str = "/usr/bin/promtool";

/// Runs promtool with `arguments` in `directory`, with `input` as standard input. Panics if
/// promtool reports a problem.
pub(crate) fn run(directory: &Path, arguments: &[&str], input: impl Into<Stdio>) {
    assert!(
        Path::new(PROGRAM).exists(),
        "promtool is missing: scripts/setup installs it"
    );
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(directory)
        .stdin(input)
        .output()
        .unwrap();
    let [output, problems] =
        [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        status.success(),
        "promtool {arguments:?}: {output}{problems}"
    );
}
