//! What a session store should be set to.

use super::{
    finding::{Check, Finding},
    server::Examination,
};
use crate::connection::{info, parameter};

/// Looks at the settings of the server, as far as its user may.
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
    const ADVICE: &str = "set maxmemory-policy to noeviction: redis-cli CONFIG SET maxmemory-policy \
         noeviction, and the same in the configuration of Redis";
    match policy {
        None => Finding::unseen(
            CHECK,
            server,
            "what Redis does when its memory is full cannot be seen with this user",
            "check by hand that it answers noeviction: redis-cli CONFIG GET maxmemory-policy",
        ),
        Some("noeviction") => Finding::fine(CHECK, server, "none (maxmemory-policy noeviction)"),
        Some(policy) if limit == Some("0") => Finding::warning(
            CHECK,
            server,
            format!(
                "maxmemory-policy is {policy}: with a maxmemory, people would be logged out without a word"
            ),
            ADVICE,
        ),
        Some(policy) => Finding::error(
            CHECK,
            server,
            format!(
                "maxmemory-policy is {policy}: people are logged out without a word when memory is full"
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
            "nothing is kept on disk: a restart of Redis logs everybody out",
            "set appendonly to yes, with redis-cli CONFIG SET and in the configuration of Redis",
        ),
        (Some(_), Some(saves)) => Finding::fine(
            CHECK,
            server,
            format!("snapshots (save {saves}): a crash loses what came after the last one"),
        ),
        (Some(_), None) => Finding::unseen(
            CHECK,
            server,
            "appendonly is off, and whether there are snapshots cannot be seen with this user",
            BY_HAND,
        ),
        (None, _) => Finding::unseen(
            CHECK,
            server,
            "whether sessions outlive a restart of Redis cannot be seen with this user",
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
            "one lost part does not stop the others (cluster-require-full-coverage no)",
        ),
        Some(_) => Finding::warning(
            CHECK,
            server,
            "one lost part stops all of it (cluster-require-full-coverage yes)",
            "set cluster-require-full-coverage to no on every server",
        ),
        None => Finding::unseen(
            CHECK,
            server,
            "whether one lost part stops all of it cannot be seen with this user",
            "check by hand that it answers no: redis-cli CONFIG GET cluster-require-full-coverage",
        ),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::diagnosis::Verdict;

    #[rstest]
    #[case::good(Some("noeviction"), Some("0"), Verdict::Fine)]
    #[case::evicting(Some("allkeys-lru"), Some("1048576"), Verdict::Error)]
    #[case::without_a_limit(Some("allkeys-lru"), Some("0"), Verdict::Warning)]
    #[case::not_told(None, None, Verdict::Unseen)]
    fn evicting_is_wrong(
        #[case] policy: Option<&str>,
        #[case] limit: Option<&str>,
        #[case] verdict: Verdict,
    ) {
        assert_eq!(eviction("redis", policy, limit).verdict, verdict);
    }

    #[rstest]
    #[case::appending(Some("1"), None, Verdict::Fine)]
    #[case::saving(Some("0"), Some("3600 1"), Verdict::Fine)]
    #[case::neither(Some("0"), Some(""), Verdict::Warning)]
    #[case::half_told(Some("0"), None, Verdict::Unseen)]
    #[case::not_told(None, None, Verdict::Unseen)]
    fn keeping_nothing_is_worth_a_warning(
        #[case] appends: Option<&str>,
        #[case] saves: Option<&str>,
        #[case] verdict: Verdict,
    ) {
        assert_eq!(persistence("redis", appends, saves).verdict, verdict);
    }
}
