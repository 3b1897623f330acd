//! Results of the comparison of gateways.

use serde::{Deserialize, Serialize};

use crate::{load::Stage, machine::Machine, server_result::ServerResult};

/// Results of the comparison of gateways.
#[derive(Serialize, Deserialize)]
pub(crate) struct Gateways {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) pages: Vec<PageResult>,
}

/// Results for one page of the site.
#[derive(Serialize, Deserialize)]
pub(crate) struct PageResult {
    pub(crate) page: Page,
    pub(crate) gateways: Vec<ServerResult>,
}

/// A page of the site, and the load with which it is requested.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) bytes: usize,
    pub(crate) stages: Vec<Stage>,
    /// `true` if the page is measured with all gateways. `false` if it is measured only with Tee
    /// Session and with the gateways that read no session.
    pub(crate) with_all: bool,
}

impl Gateways {
    pub(crate) fn failed(&self) -> u64 {
        let gateways = self.pages.iter().flat_map(|page| &page.gateways);
        gateways.map(ServerResult::failed).sum()
    }
}
