//! Results of the benchmark, as stored in `results.json`. The performance page and its charts are
//! generated from that file.

use std::{fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    gateway::Gateways, load::Stage, machine::Machine, scale::Scale, server_result::ServerResult,
};

/// Name of the file that contains the results of the benchmark.
const FILE: &str = "results.json";

/// Results of the last side-by-side comparison, of the last scale run and of the last comparison of
/// gateways.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) side_by_side: Option<SideBySide>,
    pub(crate) scale: Option<Scale>,
    /// Results of the last comparison of gateways. `None` in results of older versions of this
    /// program.
    #[serde(default)]
    pub(crate) gateways: Option<Gateways>,
}

/// Results of a side-by-side comparison.
#[derive(Serialize, Deserialize)]
pub(crate) struct SideBySide {
    pub(crate) machine: Machine,
    pub(crate) sessions: usize,
    pub(crate) rounds: usize,
    pub(crate) plan: Vec<Stage>,
    pub(crate) servers: Vec<ServerResult>,
    /// Results of `redis-benchmark` in each round, as an upper limit for all servers that use
    /// Redis.
    pub(crate) bare_redis: Vec<BareRedis>,
    /// Names of the servers that could not be measured, each with the reason.
    pub(crate) left_out: Vec<String>,
}

/// Result of `redis-benchmark` in one round.
#[derive(Serialize, Deserialize)]
pub(crate) struct BareRedis {
    pub(crate) operations_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) redis_cpu_ns: u64,
    pub(crate) operations: u64,
}

impl SideBySide {
    /// Returns the number of failed requests of all servers in all rounds.
    pub(crate) fn failed(&self) -> u64 {
        self.servers.iter().map(ServerResult::failed).sum()
    }

    pub(crate) fn server(&self, name: &str) -> Option<&ServerResult> {
        self.servers.iter().find(|server| server.name == name)
    }
}

impl Results {
    /// Loads the results from `folder`. Returns empty results if the file does not exist. Fails if
    /// another version of this program has written the file in another format.
    pub(crate) fn load(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        if !file.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&file)?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} was written by another version: run the benchmark again",
                file.display()
            )
        })
    }

    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(folder.join(FILE), text).context("the results cannot be written")
    }
}
