//! Prometheus' own judge of metrics, rules and queries.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

/// Debian's; `scripts/setup` installs it.
const PROGRAM: &str = "/usr/bin/promtool";

/// Runs it in `folder`, with the file or pipe for its standard input, and fails if it complains.
pub(crate) fn run(folder: &Path, arguments: &[&str], input: impl Into<Stdio>) {
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
        .current_dir(folder)
        .stdin(input)
        .output()
        .unwrap();
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let [told, complaints] = said;
    assert!(
        status.success(),
        "promtool {arguments:?}: {told}{complaints}"
    );
}
