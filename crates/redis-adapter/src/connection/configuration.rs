//! The settings of a Redis server that decide whether sessions are safe there: eviction,
//! persistence and, in a cluster, full coverage.

use super::{
    call::Call,
    server_settings::{info, parameter},
};

/// Configuration of a server. A value is `None` if the Redis user lacks the permission to read it.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// Eviction policy of the server: whether keys are evicted when its memory is full.
    pub(crate) eviction: Option<Eviction>,
    pub(crate) persistence: Option<Persistence>,
    /// `true` if the loss of one partition stops the whole cluster. Always `None` outside a
    /// cluster.
    pub(crate) requires_full_coverage: Option<bool>,
}

/// Eviction of keys when the memory of Redis is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// Redis evicts nothing (`noeviction`).
    Off,
    /// Redis evicts keys with this policy.
    On(String),
    /// Redis has this policy, but no memory limit at which it would evict keys.
    WithoutLimit(String),
}

/// Persistence of keys across a restart of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Redis appends each change to a file (append-only file).
    AppendOnly,
    /// Redis writes snapshots to disk, as configured with this value of `save`.
    Snapshots(String),
    /// Redis writes nothing to disk.
    Off,
    /// Redis has no append-only file. It is unknown whether Redis writes snapshots, because the
    /// Redis user may not read that setting.
    NoAppendOnly,
}

impl Configuration {
    /// Reads the configuration of the server to which `call` sends commands.
    pub(crate) async fn read(call: &Call, is_cluster_node: bool) -> Self {
        let policy = info(call, "memory", "maxmemory_policy:").await;
        let limit = info(call, "memory", "maxmemory:").await;
        let appends = info(call, "persistence", "aof_enabled:").await;
        let saves = parameter(call, "save").await;
        let coverage = if is_cluster_node {
            parameter(call, "cluster-require-full-coverage").await
        } else {
            None
        };
        Self {
            eviction: eviction(policy, limit.as_deref()),
            persistence: persistence(appends.as_deref(), saves),
            requires_full_coverage: coverage.map(|coverage| coverage != "no"),
        }
    }
}

fn eviction(policy: Option<String>, limit: Option<&str>) -> Option<Eviction> {
    let policy = policy?;
    Some(if policy == "noeviction" {
        Eviction::Off
    } else if limit == Some("0") {
        Eviction::WithoutLimit(policy)
    } else {
        Eviction::On(policy)
    })
}

fn persistence(appends: Option<&str>, saves: Option<String>) -> Option<Persistence> {
    Some(match (appends?, saves) {
        ("1", _) => Persistence::AppendOnly,
        (_, Some(saves)) if saves.is_empty() => Persistence::Off,
        (_, Some(saves)) => Persistence::Snapshots(saves),
        (_, None) => Persistence::NoAppendOnly,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_eviction(Some("noeviction"), Some("0"), Some(Eviction::Off))]
    #[case::with_limit(
        Some("allkeys-lru"),
        Some("1048576"),
        Some(Eviction::On("allkeys-lru".to_owned()))
    )]
    #[case::without_limit(
        Some("allkeys-lru"),
        Some("0"),
        Some(Eviction::WithoutLimit("allkeys-lru".to_owned()))
    )]
    #[case::limit_not_readable(
        Some("allkeys-lru"),
        None,
        Some(Eviction::On("allkeys-lru".to_owned()))
    )]
    #[case::not_readable(None, None, None)]
    fn redis_eviction_is_off_for_noeviction_and_without_limit_if_maxmemory_is_0(
        #[case] policy: Option<&str>,
        #[case] limit: Option<&str>,
        #[case] expected: Option<Eviction>,
    ) {
        assert_eq!(eviction(policy.map(str::to_owned), limit), expected);
    }

    #[rstest]
    #[case::append_only(Some("1"), None, Some(Persistence::AppendOnly))]
    #[case::snapshots(
        Some("0"),
        Some("3600 1"),
        Some(Persistence::Snapshots("3600 1".to_owned()))
    )]
    #[case::nothing(Some("0"), Some(""), Some(Persistence::Off))]
    #[case::snapshots_not_readable(Some("0"), None, Some(Persistence::NoAppendOnly))]
    #[case::not_readable(None, None, None)]
    fn redis_persistence_is_derived_from_the_append_only_and_snapshot_settings(
        #[case] appends: Option<&str>,
        #[case] saves: Option<&str>,
        #[case] expected: Option<Persistence>,
    ) {
        assert_eq!(persistence(appends, saves.map(str::to_owned)), expected);
    }
}
