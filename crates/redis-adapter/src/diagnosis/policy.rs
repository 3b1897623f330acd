//! Checks the configuration of Redis: eviction, persistence and, for a server of a cluster,
//! `cluster-require-full-coverage`.

use super::{
    examination::Examination,
    finding::{Check, Finding},
};
use crate::connection::{info, parameter};

/// Checks the configuration of the server. If the user lacks the permission to read a setting, the
/// verdict of the check is `Verdict::Unseen`.
pub(super) async fn check(examination: &Examination<'_>) -> Vec<Finding> {
    let Examination {
        settings,
        call,
        server,
    } = examination;
    let memory = async |name| info(call, "memory", name).await;
    let policy = memory("maxmemory_policy:").await;
    let limit = memory("maxmemory:").await;
    let appends = info(call, "persistence", "aof_enabled:").await;
    let saves = parameter(call, "save").await;
    let mut found = vec![
        eviction(server, policy.as_deref(), limit.as_deref()),
        persistence(server, appends.as_deref(), saves.as_deref()),
    ];
    if settings.is_cluster_node {
        let coverage = parameter(call, "cluster-require-full-coverage").await;
        found.push(coverage_of(server, coverage.as_deref()));
    }
    found
}

fn eviction(server: &str, policy: Option<&str>, limit: Option<&str>) -> Finding {
    const CHECK: Check = Check::Eviction;
    const ADVICE: &str = "set maxmemory-policy to noeviction: redis-cli CONFIG SET \
         maxmemory-policy noeviction, and the same in the configuration of Redis";
    match policy {
        None => Finding::unseen(
            CHECK,
            server,
            "this user may not read maxmemory-policy",
            "check by hand that it is noeviction: redis-cli CONFIG GET maxmemory-policy",
        ),
        Some("noeviction") => Finding::fine(CHECK, server, "none (maxmemory-policy noeviction)"),
        Some(policy) if limit == Some("0") => Finding::warning(
            CHECK,
            server,
            format!(
                "maxmemory-policy is {policy}: if maxmemory is set, Redis will evict sessions, \
                 which logs users out"
            ),
            ADVICE,
        ),
        Some(policy) => Finding::error(
            CHECK,
            server,
            format!(
                "maxmemory-policy is {policy}: when memory is full, Redis evicts sessions, which \
                 logs users out"
            ),
            ADVICE,
        ),
    }
}

fn persistence(server: &str, appends: Option<&str>, saves: Option<&str>) -> Finding {
    const CHECK: Check = Check::Persistence;
    const BY_HAND: &str = "check by hand: redis-cli CONFIG GET appendonly, and CONFIG GET save";
    match (appends, saves) {
        (Some("1"), _) => Finding::fine(CHECK, server, "appendonly yes"),
        (Some(_), Some("")) => Finding::warning(
            CHECK,
            server,
            "nothing is persisted: a restart of Redis logs all users out",
            "set appendonly to yes, with redis-cli CONFIG SET and in the configuration of Redis",
        ),
        (Some(_), Some(saves)) => Finding::fine(
            CHECK,
            server,
            format!("snapshots (save {saves}): a crash loses all changes since the last one"),
        ),
        (Some(_), None) => Finding::unseen(
            CHECK,
            server,
            "appendonly is off, and this user may not read whether there are snapshots",
            BY_HAND,
        ),
        (None, _) => Finding::unseen(
            CHECK,
            server,
            "this user may not read whether sessions survive a restart of Redis",
            BY_HAND,
        ),
    }
}

fn coverage_of(server: &str, coverage: Option<&str>) -> Finding {
    const CHECK: Check = Check::Cluster;
    match coverage {
        Some("no") => Finding::fine(
            CHECK,
            server,
            "the loss of one partition does not stop the others (cluster-require-full-coverage no)",
        ),
        Some(_) => Finding::warning(
            CHECK,
            server,
            "the loss of one partition stops the whole cluster (cluster-require-full-coverage yes)",
            "set cluster-require-full-coverage to no on every server",
        ),
        None => Finding::unseen(
            CHECK,
            server,
            "this user may not read whether the loss of one partition stops the whole cluster",
            "check by hand that it is no: redis-cli CONFIG GET cluster-require-full-coverage",
        ),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::diagnosis::Verdict;

    #[rstest]
    #[case::no_eviction(Some("noeviction"), Some("0"), Verdict::Fine)]
    #[case::eviction_with_limit(Some("allkeys-lru"), Some("1048576"), Verdict::Error)]
    #[case::eviction_without_limit(Some("allkeys-lru"), Some("0"), Verdict::Warning)]
    #[case::not_readable(None, None, Verdict::Unseen)]
    fn redis_policy_that_evicts_keys_is_an_error_if_maxmemory_is_set_and_otherwise_a_warning(
        #[case] policy: Option<&str>,
        #[case] limit: Option<&str>,
        #[case] verdict: Verdict,
    ) {
        assert_eq!(eviction("redis", policy, limit).verdict, verdict);
    }

    #[rstest]
    #[case::append_only(Some("1"), None, Verdict::Fine)]
    #[case::snapshots(Some("0"), Some("3600 1"), Verdict::Fine)]
    #[case::no_persistence(Some("0"), Some(""), Verdict::Warning)]
    #[case::snapshots_not_readable(Some("0"), None, Verdict::Unseen)]
    #[case::not_readable(None, None, Verdict::Unseen)]
    fn redis_that_persists_nothing_is_reported_as_a_warning(
        #[case] appends: Option<&str>,
        #[case] saves: Option<&str>,
        #[case] verdict: Verdict,
    ) {
        assert_eq!(persistence("redis", appends, saves).verdict, verdict);
    }
}
