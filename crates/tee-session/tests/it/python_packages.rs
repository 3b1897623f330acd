//! The Python packages that tests run.

use std::path::{Path, PathBuf};

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
