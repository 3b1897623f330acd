//! Limit on the number of open files of the process. Each network connection counts as an open
//! file.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tee_session_api_server::{ApiSettings, MAX_METRICS_CONNECTIONS, RESERVED_CONNECTIONS};

/// Number of open files that the service needs for listeners, the log and settings.
const BASE: usize = 40;

/// Number of open files that each worker needs for its runtime and its connections to the store.
const PER_WORKER: usize = 10;

/// Minimum number of client connections. If the limit of open files allows fewer, the service does
/// not start.
const MIN_CONNECTIONS: usize = 16;

/// Raises the soft limit of open files to the hard limit. Many systems set the soft limit to 1024,
/// because programs that use `select` need this limit. This program does not use `select`.
///
/// If the limit is too low for `max_connections`, lowers that setting and logs a warning. Returns
/// an error if the limit is too low for the workers and [`MIN_CONNECTIONS`] connections. Without
/// this check, the service would panic while it starts.
pub(crate) fn raise_limit(settings: &mut ApiSettings) -> anyhow::Result<()> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files cannot be read")?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    tracing::info!(before = soft, now = raised, "Limit of open files");
    let workers = settings.workers;
    let to_sites = settings.upstream.as_ref().map_or(0, |upstream| {
        upstream.limits.max_in_flight + upstream.client.max_idle * workers
    });
    let others = other_files(workers) + to_sites;
    let needed = others + MIN_CONNECTIONS;
    let files = usize::try_from(raised).unwrap_or(usize::MAX);
    let gateway = if to_sites > 0 {
        " with connections to sites"
    } else {
        ""
    };
    ensure!(
        files >= needed,
        "the limit of open files is {raised}, and {workers} workers need at least {needed}{gateway}: \
         raise it (ulimit -n, LimitNOFILE of systemd, nofile of the container), or set fewer workers"
    );
    let possible = files - others;
    if settings.max_connections > possible {
        tracing::warn!(
            max_connections = settings.max_connections,
            possible,
            "The limit of open files is too low for max_connections: a lower limit of connections \
             applies"
        );
        lower(settings, possible);
    }
    Ok(())
}

/// Returns the maximum number of files that the service opens in addition to connections to sites
/// and the client connections that `max_connections` limits.
fn other_files(workers: usize) -> usize {
    let api = 2 * RESERVED_CONNECTIONS;
    BASE + api + 2 * MAX_METRICS_CONNECTIONS + PER_WORKER * workers
}

/// Lowers `max_connections` to `possible`. If there is a limit per address, lowers it to at most
/// half of `possible`, so that one address cannot use all connections.
fn lower(settings: &mut ApiSettings, possible: usize) {
    settings.max_connections = possible;
    let per_address = settings.max_connections_per_address;
    settings.max_connections_per_address =
        per_address.map(|limit| limit.min((possible / 2).max(1)));
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::half_of_all(Some(5_000), Some(50))]
    #[case::fits(Some(20), Some(20))]
    #[case::no_limit(None, None)]
    fn lowered_max_connections_lowers_the_limit_per_address_to_at_most_half_of_it(
        #[case] per_address: Option<usize>,
        #[case] expected: Option<usize>,
    ) {
        let mut settings = ApiSettings {
            max_connections_per_address: per_address,
            ..ApiSettings::default()
        };
        lower(&mut settings, 100);
        assert_eq!(settings.max_connections, 100);
        assert_eq!(settings.max_connections_per_address, expected);
    }
}
