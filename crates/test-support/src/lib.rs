//! Real servers for the tests of Tee Session, and tools that inject faults into them.
//!
//! | item | purpose |
//! |---|---|
//! | [`TestRedis`] | a real Redis server: a running server, a new process or a container |
//! | [`RedisProcess`] | a private `redis-server` that a test can pause, kill and restart |
//! | [`RedisCluster`] | a Redis Cluster of private processes; a test can move its hash slots |
//! | [`RedisSentinels`] | a primary, its replicas, and three sentinels that monitor the primary |
//! | [`RedisMonitor`] | collects the commands that a Redis server receives (`MONITOR`) |
//! | [`ServiceProcess`] | the service binary as a child process |
//! | [`History`] | records acknowledged operations and detects contradicting responses |
//! | [`TestAuthority`] | a certificate authority that issues certificates as files |
//! | [`TestSite`] | a site that does exactly what a test prescribes, and counts what it receives |
//! | [`FaultProxy`] | a TCP proxy that closes, resets, stalls, delays or corrupts connections |
//! | [`CapturedLogs`] | captures the log events of the current thread |
//! | [`free_port`] | returns a free port for a server that cannot choose a port itself |
//! | [`eventually`] | waits for a condition instead of sleeping for a fixed time |
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot start its server must panic"
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
mod test_site;

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
    test_site::{Seen, TestSite},
};
