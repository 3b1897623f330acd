//! Tests that the fuzz targets do not panic on the inputs that are stored in `corpus`.
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

/// Reads all stored inputs of the fuzz target `name`. Returns the path and the contents of each
/// file.
fn read_inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

/// Runs the fuzz target `name` on each stored input. Fails if the target panics.
fn replay(name: &str) {
    let target: Target = TARGETS.iter().find(|(n, _)| *n == name).unwrap().1;
    let inputs = read_inputs(name);
    assert!(inputs.len() >= 5, "{name}: {} inputs", inputs.len());
    for (path, input) in inputs {
        // Also replays each prefix of the input that is shorter than 256 bytes, to cover more
        // cases.
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
fn fuzz_target_for_authorization_header_does_not_panic_on_its_stored_inputs() {
    replay("authorization");
}

#[test]
fn fuzz_target_for_binary_form_of_sessions_does_not_panic_on_its_stored_inputs() {
    replay("session_bytes");
}

#[test]
fn fuzz_target_for_base_url_does_not_panic_on_its_stored_inputs() {
    replay("base_url");
}

#[test]
fn fuzz_target_for_create_session_body_does_not_panic_on_its_stored_inputs() {
    replay("create_body");
}

#[test]
fn fuzz_target_for_unencrypted_session_record_does_not_panic_on_its_stored_inputs() {
    replay("plain_record");
}

#[test]
fn fuzz_target_for_encrypted_session_record_does_not_panic_on_its_stored_inputs() {
    replay("sealed_record");
}

#[test]
fn fuzz_target_for_if_match_header_does_not_panic_on_its_stored_inputs() {
    replay("if_match");
}

#[test]
fn fuzz_target_for_patch_session_body_does_not_panic_on_its_stored_inputs() {
    replay("patch_body");
}

#[test]
fn fuzz_target_for_introspect_and_revoke_form_body_does_not_panic_on_its_stored_inputs() {
    replay("token_form");
}

#[test]
fn fuzz_target_for_cookie_date_does_not_panic_on_its_stored_inputs() {
    replay("cookie_date");
}

#[test]
fn fuzz_target_for_merge_cookies_does_not_panic_on_its_stored_inputs() {
    replay("merge_cookies");
}

#[test]
fn fuzz_target_for_set_cookie_does_not_panic_on_its_stored_inputs() {
    replay("set_cookie");
}

#[test]
fn fuzz_target_for_location_header_does_not_panic_on_its_stored_inputs() {
    replay("location");
}
