//! Faults of the soak test, with their names in the result table.

/// A fault that the soak test can inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SoakFault {
    RedisKilled,
    RedisPaused,
    RedisFull,
    RedisReadOnly,
    ClientsKilled,
    RepliesSlow,
    RepliesTooSlow,
    ConnectionsStalled,
    RequestsDropped,
    RepliesDropped,
    ConnectionsClosed,
    ConnectionsReset,
    SiteRefuses,
    SiteHangs,
    SiteCuts,
    InstanceTerminated,
    InstanceKilled,
}

/// All faults of the soak test, each with its name in the result table.
pub(super) const SOAK_FAULTS: [(SoakFault, &str); 17] = [
    (SoakFault::RedisKilled, "Redis killed"),
    (SoakFault::RedisPaused, "Redis paused"),
    (SoakFault::RedisFull, "Redis memory full"),
    (SoakFault::RedisReadOnly, "Redis turned into a replica"),
    (SoakFault::ClientsKilled, "all Redis clients killed"),
    (SoakFault::RepliesSlow, "replies delayed by 100 ms"),
    (SoakFault::RepliesTooSlow, "replies delayed by 700 ms"),
    (SoakFault::ConnectionsStalled, "connections stalled"),
    (SoakFault::RequestsDropped, "requests dropped"),
    (SoakFault::RepliesDropped, "replies dropped"),
    (SoakFault::ConnectionsClosed, "connections closed"),
    (SoakFault::ConnectionsReset, "connections reset"),
    (SoakFault::SiteRefuses, "the site refuses connections"),
    (SoakFault::SiteHangs, "the site hangs"),
    (SoakFault::SiteCuts, "the site closes connections"),
    (
        SoakFault::InstanceTerminated,
        "an instance stopped (SIGTERM) and restarted",
    ),
    (
        SoakFault::InstanceKilled,
        "an instance killed (SIGKILL) and restarted",
    ),
];
