//! Limit of the files, and thus connections, that the process may have open.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Number of open files that the service needs without workers: listeners, log, settings, and a few
/// connections of clients.
const BASE: u64 = 128;

/// Number of open files that each worker needs: its runtime, and its connections to the store.
const PER_WORKER: u64 = 10;

/// Raises the soft limit of open files to the hard limit. Many systems set a soft limit of 1024
/// only for programs that use `select`, which this program does not.
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
