//! Side-by-side comparison of gateways that pass requests on to a site. All gateways run one after
//! the other in each round, so that changes in the speed of the machine affect all of them.

mod peers;
mod results;
mod targets;

use std::{fs, path::Path};

use anyhow::Context;
use tee_session_bench_content::Login;

pub(crate) use self::{peers::DIRECT, results::Gateways, targets::targets};
use self::{
    peers::{ALL, Peer, Places, pause},
    results::{Page, PageResult},
};
use crate::{
    load::{Load, Stage},
    machine::Machine,
    progress::say,
    redis_server::{RedisServer, free_port},
    running::Running,
    server_result::{Round, ServerResult},
    servers::Builds,
    store::{Store, write_credentials},
    usage::resident_bytes,
    wrk::{Script, Target},
};

/// Number of sessions of each kind of record ([`Store`]) in the gateway comparison.
const SESSIONS: usize = 10_000;

impl Page {
    /// Returns the path for requests to `peer`.
    fn path(&self, peer: &Peer) -> String {
        format!("/v1/upstream/{}{}.html", peer.folder, self.bytes)
    }
}

/// Durations and rounds of the comparison.
pub(crate) struct Plan {
    rounds: usize,
    warm_up: Stage,
    pages: Vec<Page>,
}

impl Plan {
    pub(crate) fn full(rounds: usize) -> Self {
        let page = |bytes, stages, with_all| Page {
            bytes,
            stages,
            with_all,
        };
        Self {
            rounds,
            warm_up: stage(64, 1),
            pages: vec![
                page(2_048, vec![stage(64, 5), stage(1, 3)], true),
                page(64 * 1_024, vec![stage(16, 3)], false),
                page(16 * 1_024 * 1_024, vec![stage(4, 4)], false),
            ],
        }
    }

    pub(crate) fn quick() -> Self {
        let mut plan = Self::full(1);
        let stages = plan.pages.iter_mut().flat_map(|page| &mut page.stages);
        stages.for_each(|stage| stage.seconds = 1);
        plan
    }
}

const fn stage(connections: usize, seconds: u64) -> Stage {
    Stage {
        connections,
        seconds,
    }
}

/// Runs the comparison of gateways. `folder` is for temporary files.
pub(crate) async fn run(plan: &Plan, builds: &Builds, folder: &Path) -> anyhow::Result<Gateways> {
    let redis = RedisServer::start(folder).await?;
    let places = Places::new(builds, &redis, folder)?;
    for page in &plan.pages {
        let file = folder.join(format!("pages/{}.html", page.bytes));
        fs::create_dir_all(folder.join("pages"))?;
        fs::write(file, "x".repeat(page.bytes))?;
    }
    let site = places.start_site()?;
    for store in [Store::Sealed, Store::Plain] {
        fill(store, &places).await?;
    }
    let mut pages: Vec<_> = plan.pages.iter().map(empty_result).collect();
    for number in 1..=plan.rounds {
        say(&format!("round {number} of {}", plan.rounds));
        for PageResult { page, gateways } in &mut pages {
            say(&format!("  page of {} bytes", page.bytes));
            for (peer, result) in measured(page).zip(gateways) {
                let round = round(peer, page, plan.warm_up, &places).await;
                result.rounds.push(round.with_context(|| peer.name)?);
            }
        }
    }
    site.stop().await?;
    redis.stop().await?;
    Ok(Gateways {
        machine: Machine::of_this_run().await,
        rounds: plan.rounds,
        pages,
    })
}

fn measured(page: &Page) -> impl Iterator<Item = &'static Peer> {
    let with_all = page.with_all;
    ALL.iter()
        .filter(move |peer| with_all || peer.has_large_pages)
}

fn empty_result(page: &Page) -> PageResult {
    let gateways = measured(page).map(|peer| ServerResult {
        name: peer.name.to_owned(),
        binary_bytes: None,
        answer_bytes: page.bytes,
        rounds: Vec::new(),
    });
    PageResult {
        page: page.clone(),
        gateways: gateways.collect(),
    }
}

/// Creates the sessions in `store`, and writes their credentials to a file.
async fn fill(store: Store, places: &Places<'_>) -> anyhow::Result<()> {
    let port = free_port()?;
    let mut service = [places.start_service(port, store)?];
    let login = Login {
        base_url: places.site_url(),
        ..Login::sample()
    };
    let credentials = loop {
        // The first attempts fail, because the service is starting.
        match store.log_in_with(&login, port, 1).await {
            Ok(_) => break store.log_in_with(&login, port, SESSIONS).await?,
            Err(_) => pause(&mut service).await?,
        }
    };
    write_credentials(places.credentials(store), &credentials)?;
    let [service] = service;
    service.stop().await
}

/// Starts a gateway, and sends requests to it with each number of connections of the page.
async fn round(
    peer: &Peer,
    page: &Page,
    warm_up: Stage,
    places: &Places<'_>,
) -> anyhow::Result<Round> {
    let file = places.credentials(peer.store);
    let path = page.path(peer);
    let started = peer.start(places, &path).await?;
    let pids: Vec<_> = started.processes.iter().map(|p| p.pid).collect();
    let target = Target {
        port: started.port,
        pids: pids.clone(),
        redis: places.redis,
    };
    let script = Script::Upstream(&file, &path);
    let warm_up = target.load(script, warm_up).await?;
    let mut loads: Vec<Load> = Vec::new();
    for stage in &page.stages {
        loads.push(target.load(script, *stage).await?);
    }
    let resident: anyhow::Result<Vec<_>> = pids.into_iter().map(resident_bytes).collect();
    let round = Round {
        start_us: u64::try_from(started.first_response_after.as_micros())?,
        resident_bytes: resident?.into_iter().sum(),
        failed_warming_up: warm_up.failed(),
        loads,
    };
    for process in started.processes {
        Running::stop(process).await?;
    }
    let shown = round.loads.first().context("no load")?;
    say(&format!(
        "    {:34} {:>8.0}/s  CPU {:>7.1} us  Redis {:>5.2} us  p50 {:>6} us  p99 {:>6} us  {} failed",
        peer.name,
        shown.per_second(),
        shown.server_cpu(),
        shown.redis_cpu(),
        shown.wrk.p50_us,
        shown.wrk.p99_us,
        round.failed(),
    ));
    Ok(round)
}
