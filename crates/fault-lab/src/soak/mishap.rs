//! What may happen in a soak.

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    RedisKilled,
    RedisPaused,
    RedisFull,
    RedisReadOnly,
    ClientsKilled,
    Slow,
    TooSlow,
    Stalled,
    RequestsSwallowed,
    AnswersSwallowed,
    Cut,
    Reset,
    InstanceTerminated,
    InstanceKilled,
}

/// Each, and what it is called in the table.
pub(super) const MISHAPS: [(Mishap, &str); 14] = [
    (Mishap::RedisKilled, "Redis killed"),
    (Mishap::RedisPaused, "Redis paused"),
    (Mishap::RedisFull, "memory of Redis full"),
    (Mishap::RedisReadOnly, "Redis a replica"),
    (Mishap::ClientsKilled, "clients of Redis killed"),
    (Mishap::Slow, "answers 100 ms later"),
    (Mishap::TooSlow, "answers 700 ms later"),
    (Mishap::Stalled, "connections stalled"),
    (Mishap::RequestsSwallowed, "requests swallowed"),
    (Mishap::AnswersSwallowed, "answers swallowed"),
    (Mishap::Cut, "connections cut"),
    (Mishap::Reset, "connections reset"),
    (
        Mishap::InstanceTerminated,
        "an instance stopped (SIGTERM) and started",
    ),
    (
        Mishap::InstanceKilled,
        "an instance killed (SIGKILL) and started",
    ),
];
