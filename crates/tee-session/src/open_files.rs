//! Limit on the number of open files of the process. Each network connection counts as an open
//! file.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Number of open files that the service needs for listeners, the log, settings, and a few
/// connections of clients. The open files of its workers are not included.
const BASE: u64 = 128;

/// Number of open files that each worker needs for its runtime and its connections to the store.
const PER_WORKER: u64 = 10;

/// Raises the soft limit of open files to the hard limit. Many systems set a soft limit of 1024,
/// which only programs that use `select` need. This program does not use `select`.
///
/// Returns an error if the limit is too low for `workers` workers. Without this check, the service
/// would panic while it starts.
pub(crate) fn raise_limit(workers: usize) -> anyhow::Result<()> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files cannot be read")?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    tracing::info!(before = soft, now = raised, "Limit of open files");
    let needed = BASE + PER_WORKER * workers as u64;
    ensure!(
        raised >= needed,
        "the limit of open files is {raised}, and {workers} workers need at least {needed}: raise it \
         (ulimit -n, LimitNOFILE of systemd, nofile of the container), or set fewer workers"
    );
    Ok(())
}
