//! Build information for the metric `tee_session_build_info`: the version of the compiler, and the
//! commit of the sources.

use std::{env, process::Command};

/// Sets the environment variables `TEE_SESSION_RUSTC` (compiler version) and `TEE_SESSION_COMMIT`
/// (commit) for the compilation of the crate.
pub(crate) fn set_env() {
    println!("cargo::rerun-if-env-changed=TEE_SESSION_COMMIT");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = version.unwrap_or_default();
    let version = version.split(' ').nth(1).unwrap_or("unknown").trim();
    println!("cargo::rustc-env=TEE_SESSION_RUSTC={version}");
    // The commit is not read from Git, because the working tree may differ from the checked-out
    // commit.
    let commit = env::var("TEE_SESSION_COMMIT").ok();
    let commit = commit.filter(|commit| !commit.is_empty());
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=TEE_SESSION_COMMIT={commit}");
}
