//! Checks the configuration of Redis: eviction, persistence and, for a server of a cluster,
//! `cluster-require-full-coverage`.

use super::{
    examination::Examination,
    finding::{Check, Finding},
};
use crate::connection::{Configuration, Eviction, Persistence};

/// Checks the configuration of the server. If the user lacks the permission to read a setting, the
/// verdict of the check is `Verdict::Unseen`.
pub(super) async fn check(examination: &Examination<'_>) -> Vec<Finding> {
    let Examination {
        settings,
        call,
        server,
    } = examination;
    let configuration = Configuration::read(call, settings.is_cluster_node).await;
    let mut found = vec![
        eviction(server, configuration.eviction),
        persistence(server, configuration.persistence),
    ];
    if settings.is_cluster_node {
        found.push(coverage(server, configuration.requires_full_coverage));
    }
    found
}

fn eviction(server: &str, eviction: Option<Eviction>) -> Finding {
    const CHECK: Check = Check::Eviction;
    const ADVICE: &str = "set maxmemory-policy to noeviction: redis-cli CONFIG SET \
         maxmemory-policy noeviction, and the same in the configuration of Redis";
    match eviction {
        None => Finding::unseen(
            CHECK,
            server,
            "this user may not read maxmemory-policy",
            "check by hand that it is noeviction: redis-cli CONFIG GET maxmemory-policy",
        ),
        Some(Eviction::Off) => Finding::fine(CHECK, server, "none (maxmemory-policy noeviction)"),
        Some(Eviction::WithoutLimit(policy)) => Finding::warning(
            CHECK,
            server,
            format!(
                "maxmemory-policy is {policy}: if maxmemory is set, Redis will evict sessions, \
                 which logs users out"
            ),
            ADVICE,
        ),
        Some(Eviction::On(policy)) => Finding::error(
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

fn persistence(server: &str, persistence: Option<Persistence>) -> Finding {
    const CHECK: Check = Check::Persistence;
    const BY_HAND: &str = "check by hand: redis-cli CONFIG GET appendonly, and CONFIG GET save";
    match persistence {
        Some(Persistence::AppendOnly) => Finding::fine(CHECK, server, "appendonly yes"),
        Some(Persistence::Off) => Finding::warning(
            CHECK,
            server,
            "nothing is persisted: a restart of Redis logs all users out",
            "set appendonly to yes, with redis-cli CONFIG SET and in the configuration of Redis",
        ),
        Some(Persistence::Snapshots(saves)) => Finding::fine(
            CHECK,
            server,
            format!("snapshots (save {saves}): a crash loses all changes since the last one"),
        ),
        Some(Persistence::NoAppendOnly) => Finding::unseen(
            CHECK,
            server,
            "appendonly is off, and this user may not read whether there are snapshots",
            BY_HAND,
        ),
        None => Finding::unseen(
            CHECK,
            server,
            "this user may not read whether sessions survive a restart of Redis",
            BY_HAND,
        ),
    }
}

fn coverage(server: &str, is_required: Option<bool>) -> Finding {
    const CHECK: Check = Check::Cluster;
    match is_required {
        Some(false) => Finding::fine(
            CHECK,
            server,
            "the loss of one partition does not stop the others (cluster-require-full-coverage no)",
        ),
        Some(true) => Finding::warning(
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
    use super::*;
    use crate::diagnosis::Verdict;

    #[test]
    fn evicting_redis_gets_the_verdict_error_with_a_memory_limit_and_warning_without_one() {
        let policy = || "allkeys-lru".to_owned();
        let verdict = |found| eviction("redis", found).verdict;
        assert_eq!(verdict(Some(Eviction::On(policy()))), Verdict::Error);
        let without_limit = Eviction::WithoutLimit(policy());
        assert_eq!(verdict(Some(without_limit)), Verdict::Warning);
        assert_eq!(verdict(Some(Eviction::Off)), Verdict::Fine);
        assert_eq!(verdict(None), Verdict::Unseen);
    }

    #[test]
    fn redis_without_persistence_gets_the_verdict_warning() {
        let verdict = |found| persistence("redis", found).verdict;
        assert_eq!(verdict(Some(Persistence::Off)), Verdict::Warning);
        assert_eq!(verdict(Some(Persistence::AppendOnly)), Verdict::Fine);
        let snapshots = Persistence::Snapshots("3600 1".to_owned());
        assert_eq!(verdict(Some(snapshots)), Verdict::Fine);
        assert_eq!(verdict(Some(Persistence::NoAppendOnly)), Verdict::Unseen);
        assert_eq!(verdict(None), Verdict::Unseen);
    }
}
