//! The Python packages that tests run, and programs of the tests that use them.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Where the programs are.
pub(crate) const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/python");

/// A program of the environment that `scripts/setup` makes.
pub(crate) fn program(name: &str) -> PathBuf {
    let environment = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-venv");
    let program = Path::new(environment).join("bin").join(name);
    assert!(
        program.exists(),
        "{} is missing: scripts/setup installs it",
        program.display()
    );
    program
}

/// A program of the tests, yet to be given its arguments.
pub(crate) fn script(name: &str) -> Command {
    let mut python = Command::new(program("python"));
    python.arg(Path::new(PROGRAMS).join(name));
    python.kill_on_drop(true);
    python
}

/// What it prints. It has to succeed.
pub(crate) async fn output_of(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    printed
}
