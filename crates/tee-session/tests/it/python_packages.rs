//! Helpers that run Python scripts, and programs of installed Python packages.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Directory of the Python scripts for the tests.
pub(crate) const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/python");

/// Returns the path of the program `name` in the Python environment that `scripts/setup` creates.
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

/// Directory of the programs that the documentation offers to copy.
pub(crate) const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipes");

/// Returns a command that runs the Python script `name` of [`SCRIPTS`]. The arguments of the script
/// must be added to the command.
pub(crate) fn script(name: &str) -> Command {
    python(&Path::new(SCRIPTS).join(name))
}

/// Returns a command that runs the Python script `name` of [`RECIPES`]. The arguments of the script
/// must be added to the command.
pub(crate) fn recipe(name: &str) -> Command {
    python(&Path::new(RECIPES).join(name))
}

fn python(script: &Path) -> Command {
    let mut python = Command::new(program("python"));
    python.arg(script).kill_on_drop(true);
    python
}

/// Runs `command`, and returns the text on standard output. Panics if the command fails.
pub(crate) async fn output_of(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    printed
}
