//! Tells the crate what it is built by and from.

use std::{env, process::Command};

/// Sets them in the environment of the build.
pub(crate) fn tell() {
    println!("cargo::rerun-if-env-changed=TEE_SESSION_COMMIT");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = version.unwrap_or_default();
    let version = version.split(' ').nth(1).unwrap_or("unknown").trim();
    println!("cargo::rustc-env=TEE_SESSION_RUSTC={version}");
    // Not asked of git: what was built before the last commit would claim to be that.
    let commit = env::var("TEE_SESSION_COMMIT").ok();
    let commit = commit.filter(|commit| !commit.is_empty());
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=TEE_SESSION_COMMIT={commit}");
}
