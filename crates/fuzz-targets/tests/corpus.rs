//! Replays what fuzzers found worth keeping.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use tee_session_fuzz_targets::{TARGETS, Target};

fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

fn replay(name: &str) {
    let target: Target = TARGETS.iter().find(|(n, _)| *n == name).unwrap().1;
    let inputs = inputs(name);
    assert!(inputs.len() >= 5, "{name}: {} inputs", inputs.len());
    for (path, input) in inputs {
        // Neighbours of what is worth keeping are the next best thing.
        let replayed = catch_unwind(|| {
            target(&input);
            for cut in 0..input.len().min(256) {
                target(&input[..cut]);
            }
        });
        assert!(replayed.is_ok(), "{}", path.display());
    }
}

#[test]
fn authorization() {
    replay("authorization");
}

#[test]
fn base_url() {
    replay("base_url");
}

#[test]
fn create_body() {
    replay("create_body");
}

#[test]
fn plain_record() {
    replay("plain_record");
}

#[test]
fn sealed_record() {
    replay("sealed_record");
}

#[test]
fn if_match() {
    replay("if_match");
}

#[test]
fn patch_body() {
    replay("patch_body");
}

#[test]
fn token_form() {
    replay("token_form");
}
