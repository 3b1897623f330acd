//! Real servers for the tests of Tee Session, and ways to hurt them.
//!
//! | type | what it is |
//! |---|---|
//! | [`TestRedis`] | a real Redis, found in the order that its documentation gives |
//! | [`RedisProcess`] | a `redis-server` of the test's own, which it may pause, kill and restart |
//! | [`RedisCluster`] | a Redis Cluster of such processes, with slots that move |
//! | [`RedisSentinels`] | a primary, its replicas, and three sentinels that watch them |
//! | [`RedisMonitor`] | what a listener at the server hears |
//! | [`ServiceProcess`] | the service's binary as a child process |
//! | [`History`] | what was acknowledged to clients, and what contradicts it |
//! | [`TestAuthority`] | certificates that it issues, as files |
//! | [`FaultProxy`] | a TCP connection that the test can cut, delay, stall, swallow, reset or garble |
//! | [`CapturedLogs`] | what was logged on this thread |
//! | [`free_port`] | a port for a server that picks none by itself |
//! | [`eventually`] | waits for a condition instead of sleeping |
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot have its server fails, loudly"
)]

mod captured_logs;
mod eventually;
mod fault_proxy;
mod history;
mod redis_cluster;
mod redis_monitor;
mod redis_process;
mod redis_sentinels;
mod service_process;
mod test_authority;
mod test_redis;

pub use self::{
    captured_logs::CapturedLogs,
    eventually::eventually,
    fault_proxy::{Fault, FaultProxy},
    history::{Contradiction, History, Known},
    redis_cluster::RedisCluster,
    redis_monitor::RedisMonitor,
    redis_process::{RedisAdmin, RedisProcess, free_port},
    redis_sentinels::RedisSentinels,
    service_process::ServiceProcess,
    test_authority::{IssuedCertificate, TestAuthority},
    test_redis::TestRedis,
};
