//! Stages of load, and the figures that are measured in each stage. In a stage, a fixed number of
//! connections sends requests for a fixed duration.

use serde::{Deserialize, Serialize};

/// A stage of load: the number of connections and the duration in seconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub(crate) connections: usize,
    pub(crate) seconds: u64,
}

/// The figures that were measured in one stage of load.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    #[serde(flatten)]
    pub(crate) wrk: Wrk,
    pub(crate) server_cpu_ns: u64,
    pub(crate) redis_cpu_ns: u64,
    pub(crate) redis_commands: u64,
    /// Number of times that Redis has read from its client sockets. `None` in results of older
    /// versions of this program.
    #[serde(default)]
    pub(crate) redis_reads: Option<u64>,
}

/// The figures that the program wrk reports.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Wrk {
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    /// Number of error responses, which are responses with a status of 400 or higher.
    pub(crate) refused: u64,
    /// Number of socket errors plus number of responses that took longer than 20 seconds, the
    /// timeout of wrk.
    pub(crate) broken: u64,
}

impl Load {
    /// Returns the number of requests per second in this stage of load.
    pub(crate) fn per_second(&self) -> f64 {
        self.wrk.requests as f64 * 1e6 / self.wrk.duration_us as f64
    }

    /// Returns the CPU time of the server per request, in microseconds.
    pub(crate) fn server_cpu(&self) -> f64 {
        self.server_cpu_ns as f64 / 1e3 / self.wrk.requests as f64
    }

    /// Returns the CPU time of Redis per request, in microseconds.
    pub(crate) fn redis_cpu(&self) -> f64 {
        self.redis_cpu_ns as f64 / 1e3 / self.wrk.requests as f64
    }

    /// Returns the number of Redis commands per request.
    pub(crate) fn commands(&self) -> f64 {
        self.redis_commands as f64 / self.wrk.requests as f64
    }

    /// Returns the number of socket reads of Redis per request, or NaN if the reads were not
    /// counted.
    pub(crate) fn reads(&self) -> f64 {
        let reads = self.redis_reads.map_or(f64::NAN, |reads| reads as f64);
        reads / self.wrk.requests as f64
    }

    /// Returns the number of failed requests: error responses, socket errors and slow responses.
    pub(crate) fn failed(&self) -> u64 {
        self.wrk.refused + self.wrk.broken
    }
}
