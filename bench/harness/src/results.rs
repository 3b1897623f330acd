//! What was measured, as it is kept in `results.json`: the page and the charts are drawn from it.

use std::{fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{machine::Machine, scale::Scale};

const FILE: &str = "results.json";

/// The last run of each part.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) side_by_side: Option<SideBySide>,
    pub(crate) scale: Option<Scale>,
}

/// All servers, one after the other, round after round.
#[derive(Serialize, Deserialize)]
pub(crate) struct SideBySide {
    pub(crate) machine: Machine,
    pub(crate) sessions: usize,
    pub(crate) rounds: usize,
    pub(crate) plan: Vec<Stage>,
    pub(crate) servers: Vec<ServerResult>,
    /// `redis-benchmark` of each round, the second ceiling.
    pub(crate) bare_redis: Vec<BareRedis>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<String>,
}

/// So many connections for so long.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Stage {
    pub(crate) connections: usize,
    pub(crate) seconds: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ServerResult {
    pub(crate) name: String,
    pub(crate) binary_bytes: Option<u64>,
    pub(crate) answer_bytes: usize,
    pub(crate) rounds: Vec<Round>,
}

/// One server, started anew and put under load.
#[derive(Serialize, Deserialize)]
pub(crate) struct Round {
    /// From its start to the first 200.
    pub(crate) start_us: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) failed_warming_up: u64,
    pub(crate) loads: Vec<Load>,
}

/// What one stage of load came to.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    #[serde(flatten)]
    pub(crate) wrk: Wrk,
    pub(crate) server_cpu_ns: u64,
    pub(crate) redis_cpu_ns: u64,
    pub(crate) redis_commands: u64,
    /// Reads of Redis from its sockets. Runs before they were counted have none.
    #[serde(default)]
    pub(crate) redis_reads: Option<u64>,
}

/// What wrk saw.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Wrk {
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    /// Answers with a status from 400 on.
    pub(crate) refused: u64,
    /// Errors of sockets, and answers that took longer than two seconds.
    pub(crate) broken: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct BareRedis {
    pub(crate) operations_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) redis_cpu_ns: u64,
    pub(crate) operations: u64,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.wrk.requests as f64 * 1e6 / self.wrk.duration_us as f64
    }

    /// Microseconds of the server's processors for a request.
    pub(crate) fn server_cpu(&self) -> f64 {
        self.server_cpu_ns as f64 / 1e3 / self.wrk.requests as f64
    }

    /// Microseconds of Redis's processor for a request.
    pub(crate) fn redis_cpu(&self) -> f64 {
        self.redis_cpu_ns as f64 / 1e3 / self.wrk.requests as f64
    }

    /// Commands of Redis for a request.
    pub(crate) fn commands(&self) -> f64 {
        self.redis_commands as f64 / self.wrk.requests as f64
    }

    /// Reads of Redis for a request; not a number if they were not counted.
    pub(crate) fn reads(&self) -> f64 {
        let reads = self.redis_reads.map_or(f64::NAN, |reads| reads as f64);
        reads / self.wrk.requests as f64
    }

    /// Requests that were not answered with what they asked for.
    pub(crate) fn failed(&self) -> u64 {
        self.wrk.refused + self.wrk.broken
    }
}

impl ServerResult {
    pub(crate) fn failed(&self) -> u64 {
        self.rounds.iter().map(Round::failed).sum()
    }
}

impl Round {
    fn failed(&self) -> u64 {
        self.failed_warming_up + self.loads.iter().map(Load::failed).sum::<u64>()
    }

    pub(crate) fn load(&self, connections: usize) -> Option<&Load> {
        self.loads
            .iter()
            .find(|load| load.connections == connections)
    }
}

impl SideBySide {
    /// Requests that were not answered with what they asked for.
    pub(crate) fn failed(&self) -> u64 {
        self.servers.iter().map(ServerResult::failed).sum()
    }

    pub(crate) fn server(&self, name: &str) -> Option<&ServerResult> {
        self.servers.iter().find(|server| server.name == name)
    }
}

impl ServerResult {
    /// One number for each round that has it.
    pub(crate) fn each<'a>(
        &'a self,
        connections: usize,
        value: impl Fn(&Load) -> f64 + 'a,
    ) -> Vec<f64> {
        let loads = self
            .rounds
            .iter()
            .filter_map(|round| round.load(connections));
        loads.map(value).collect()
    }
}

impl Results {
    /// Those in `folder`; none if there are none yet.
    pub(crate) fn load(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&file)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is of another version: measure anew", file.display()))
    }

    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(folder.join(FILE), text).context("the results cannot be written")
    }
}
