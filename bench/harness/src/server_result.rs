//! Results of one server in the rounds of a comparison.

use serde::{Deserialize, Serialize};

use crate::load::Load;

/// Results of one server in all rounds.
#[derive(Serialize, Deserialize)]
pub(crate) struct ServerResult {
    pub(crate) name: String,
    pub(crate) binary_bytes: Option<u64>,
    pub(crate) answer_bytes: usize,
    pub(crate) rounds: Vec<Round>,
}

/// Results of one server in one round. The server is started again for each round.
#[derive(Serialize, Deserialize)]
pub(crate) struct Round {
    /// Time from the start of the server to its first response with status 200, in microseconds.
    pub(crate) start_us: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) failed_warming_up: u64,
    pub(crate) loads: Vec<Load>,
}

impl ServerResult {
    /// Applies `value` to the measurement at `connections` connections in each round. Skips rounds
    /// without such a measurement.
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

    pub(crate) fn failed(&self) -> u64 {
        self.rounds.iter().map(Round::failed).sum()
    }
}

impl Round {
    pub(crate) fn failed(&self) -> u64 {
        self.failed_warming_up + self.loads.iter().map(Load::failed).sum::<u64>()
    }

    pub(crate) fn load(&self, connections: usize) -> Option<&Load> {
        self.loads
            .iter()
            .find(|load| load.connections == connections)
    }
}
