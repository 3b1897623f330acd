//! Plan and common parts of a scale run. A scale run measures how the costs of Tee Session grow
//! with the number of sessions, connections and writes.

use std::path::Path;

use crate::{
    redis_server::RedisServer,
    servers::{Builds, Server},
    starting::Started,
};

/// Numbers and durations of the measurements in a scale run.
pub(crate) struct Plan {
    pub(crate) sessions: Vec<usize>,
    /// Number of sessions that are created with the first service, the Python predecessor of Tee
    /// Session. It creates sessions slowly, so this number is smaller than the largest of
    /// `sessions`.
    pub(crate) of_first_service: usize,
    /// Number of sessions with which the near cache is filled before it is measured.
    pub(crate) cached: usize,
    pub(crate) logouts: usize,
    pub(crate) idle_connections: usize,
    pub(crate) seconds: u64,
    /// Number of repetitions of each measurement of look-ups. The repetition with the median CPU
    /// time is the result.
    pub(crate) loads: usize,
}

impl Plan {
    pub(crate) fn full() -> Self {
        Self {
            sessions: vec![1_000, 100_000, 1_000_000],
            of_first_service: 100_000,
            cached: 100_000,
            logouts: 2_000,
            idle_connections: 10_000,
            seconds: 5,
            loads: 3,
        }
    }

    pub(crate) fn quick() -> Self {
        Self {
            sessions: vec![1_000, 20_000],
            of_first_service: 5_000,
            cached: 20_000,
            logouts: 200,
            idle_connections: 2_000,
            seconds: 1,
            loads: 1,
        }
    }
}

/// Plan, binaries and folder of a scale run in progress.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) builds: &'a Builds,
    pub(crate) folder: &'a Path,
}

impl Run<'_> {
    /// Starts `server` with its sessions in `redis`.
    pub(crate) fn start(&self, server: &Server, redis: &RedisServer) -> anyhow::Result<Started> {
        Started::start(self.builds, server, redis, self.folder)
    }
}
