//! Side-by-side comparison of servers. All servers run one after the other in each round, so that
//! changes in the speed of the machine affect all servers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::{
    load::Stage,
    machine::Machine,
    progress::say,
    redis_server::RedisServer,
    results::{BareRedis, SideBySide},
    running::Running,
    server_result::{Round, ServerResult},
    servers::{self, Builds, Server},
    starting::Started,
    store::{Store, fill_near_cache, write_credentials},
    usage::resident_bytes,
    wrk::Script,
};

/// Numbers and durations of the measurements in the comparison.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) sessions: usize,
    pub(crate) warm_up: Stage,
    pub(crate) stages: Vec<Stage>,
    pub(crate) bare_operations: u64,
    /// Texts that select servers: a server is measured if its name contains one of the texts. If
    /// there are no texts, all servers are measured.
    pub(crate) only: Vec<String>,
}

impl Plan {
    /// Returns the plan for the figures of the performance page.
    pub(crate) fn full(rounds: usize, sessions: usize, only: Vec<String>) -> Self {
        Self {
            rounds,
            sessions,
            warm_up: stage(64, 1),
            stages: vec![stage(64, 7), stage(256, 4), stage(16, 2), stage(1, 2)],
            bare_operations: 400_000,
            only,
        }
    }

    /// Returns a short plan that is sufficient for a functional check and for approximate figures.
    pub(crate) fn quick(sessions: usize, only: Vec<String>) -> Self {
        Self {
            warm_up: stage(64, 1),
            stages: vec![stage(64, 2), stage(256, 1), stage(16, 1), stage(1, 1)],
            bare_operations: 100_000,
            ..Self::full(1, sessions, only)
        }
    }

    /// Returns `true` if the server with the name `name` is to be measured.
    fn selects(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| name.contains(text.as_str()))
    }
}

const fn stage(connections: usize, seconds: u64) -> Stage {
    Stage {
        connections,
        seconds,
    }
}

/// Size in bytes of the records that `redis-benchmark` reads. Plain (unencrypted) session records
/// have about the same size.
const BARE_RECORD_BYTES: usize = 200;

/// Name of the row with the results of `redis-benchmark`, which measures Redis without a server.
const BARE_REDIS: &str = "redis-benchmark";

/// Credentials of all sessions in a store, in memory and in a file.
struct Filled {
    credentials: Arc<[String]>,
    file: PathBuf,
}

/// State of a comparison in progress.
struct Run<'a> {
    plan: &'a Plan,
    builds: &'a Builds,
    redis: RedisServer,
    folder: &'a Path,
    filled: BTreeMap<Store, Filled>,
}

/// Runs the comparison of servers. `folder` is for temporary files.
pub(crate) async fn run(plan: &Plan, builds: &Builds, folder: &Path) -> anyhow::Result<SideBySide> {
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    for server in servers::ALL
        .iter()
        .filter(|server| plan.selects(server.name))
    {
        match builds.obstacle(server).await? {
            None => chosen.push(server),
            Some(obstacle) => left_out.push(format!("{}: {obstacle}", server.name)),
        }
    }
    for line in &left_out {
        say(&format!("left out: {line}"));
    }
    let mut run = Run {
        plan,
        builds,
        redis: RedisServer::start(folder).await?,
        folder,
        filled: BTreeMap::new(),
    };
    let mut results: Vec<ServerResult> = Vec::new();
    for server in &chosen {
        run.fill(server.store).await?;
        results.push(ServerResult {
            name: server.name.to_owned(),
            binary_bytes: builds.size(server),
            answer_bytes: 0,
            rounds: Vec::new(),
        });
    }
    let with_bare_redis = plan.selects(BARE_REDIS);
    if with_bare_redis {
        run.fill_bare().await?;
    }
    if results.is_empty() && !with_bare_redis {
        bail!("no name of a server contains the text given with --only");
    }
    let mut bare_redis = Vec::new();
    for number in 1..=plan.rounds {
        say(&format!("round {number} of {}", plan.rounds));
        for (server, result) in chosen.iter().zip(&mut results) {
            let (round, answer_bytes) = run.round(server).await.with_context(|| server.name)?;
            result.answer_bytes = answer_bytes;
            result.rounds.push(round);
        }
        if with_bare_redis {
            bare_redis.push(run.bare_redis().await.context(BARE_REDIS)?);
        }
    }
    run.redis.stop().await?;
    Ok(SideBySide {
        machine: Machine::of_this_run().await,
        sessions: plan.sessions,
        rounds: plan.rounds,
        plan: plan.stages.clone(),
        servers: results,
        bare_redis,
        left_out,
    })
}

impl Run<'_> {
    /// Creates the sessions in `store`. Does nothing if the sessions have already been created.
    async fn fill(&mut self, store: Store) -> anyhow::Result<()> {
        if self.filled.contains_key(&store) {
            return Ok(());
        }
        let Some(server) = servers::filling(store) else {
            return Ok(());
        };
        say(&format!(
            "creating {} sessions: {}",
            self.plan.sessions, server.name
        ));
        let mut started = Started::start(self.builds, &server, &self.redis, self.folder)?;
        started.until_session_is_created(store).await?;
        let credentials = store.log_in(started.port, self.plan.sessions).await?;
        started.stop().await?;
        let file = self
            .folder
            .join(format!("credentials-{}", store.database()));
        let file = write_credentials(file, &credentials)?;
        let credentials = credentials.into();
        self.filled.insert(store, Filled { credentials, file });
        Ok(())
    }

    /// Starts `server`, and sends requests with each number of connections in the plan. Returns the
    /// results of the round, and the size of a response body in bytes.
    async fn round(&self, server: &Server) -> anyhow::Result<(Round, usize)> {
        let filled = self
            .filled
            .get(&server.store)
            .context("the store has no sessions")?;
        let first = filled.credentials.first().context("no session")?;
        let mut started = Started::start(self.builds, server, &self.redis, self.folder)?;
        let first = started.until_session_is_read(first).await?;
        let target = started.target(&self.redis);
        let script = match server.merges {
            Some(merges) => Script::Merge(&filled.file, merges),
            None => Script::Read(&filled.file),
        };
        let warm_up = target.load(script, self.plan.warm_up).await?;
        if server.reads_each_first {
            fill_near_cache(started.port, &filled.credentials).await?;
        }
        let mut loads = Vec::new();
        for stage in &self.plan.stages {
            loads.push(target.load(script, *stage).await?);
        }
        let resident_bytes = resident_bytes(started.pid())?;
        started.stop().await?;
        let failed = warm_up.failed() + loads.iter().map(|load| load.failed()).sum::<u64>();
        let shown = loads.first().context("no load")?;
        say(&format!(
            "  {:28} {:>8.0}/s  server {:>6.1} us  Redis {:>5.2} us  p99 {:>6} us{}",
            server.name,
            shown.per_second(),
            shown.server_cpu(),
            shown.redis_cpu(),
            shown.wrk.p99_us,
            if failed > 0 {
                format!("  {failed} FAILED")
            } else {
                String::new()
            },
        ));
        let round = Round {
            start_us: u64::try_from(first.after.as_micros())?,
            resident_bytes,
            failed_warming_up: warm_up.failed(),
            loads,
        };
        Ok((round, first.bytes))
    }

    /// Writes the records that `redis-benchmark` reads. The keys have the form that
    /// `redis-benchmark` generates.
    async fn fill_bare(&self) -> anyhow::Result<()> {
        let database = Store::Bare.database().to_string();
        let sessions = self.plan.sessions.to_string();
        let record = "x".repeat(BARE_RECORD_BYTES);
        let script = "for i = 0, ARGV[1] - 1 do \
                      redis.call('SET', string.format('session:%012d', i), ARGV[2], 'EX', 1800) end";
        let command = ["-n", &database, "EVAL", script, "0", &sessions, &record];
        self.redis.command(&command).await?;
        Ok(())
    }

    /// Measures Redis without a server: runs `redis-benchmark` with the command GETEX.
    async fn bare_redis(&self) -> anyhow::Result<BareRedis> {
        let operations = self.plan.bare_operations;
        let mut command = Command::new("redis-benchmark");
        command
            .args(["-p", &self.redis.port.to_string()])
            .args(["--dbnum", &Store::Bare.database().to_string()])
            .args(["-c", "64", "-P", "1", "--csv"])
            .args([
                "-n",
                &operations.to_string(),
                "-r",
                &self.plan.sessions.to_string(),
            ])
            .args(["GETEX", "session:__rand_int__", "EX", "1800"]);
        let before = self.redis.cpu_time();
        let output = Running::output(command).await?;
        let redis_cpu_ns = self.redis.cpu_time().since(&before);
        // The columns of the line are "test","rps","avg","min","p50","p95","p99","max".
        let line = output.lines().last().context("no result")?;
        let numbers: Vec<f64> = line
            .split("\",\"")
            .skip(1)
            .filter_map(|field| field.trim_end_matches('"').parse().ok())
            .collect();
        let [operations_per_second, _, _, p50, _, p99, _] = numbers[..] else {
            bail!("unexpected output of redis-benchmark: {line}");
        };
        say(&format!(
            "  {BARE_REDIS:28} {operations_per_second:>8.0}/s  {:>17} Redis {:>5.2} us",
            "",
            redis_cpu_ns as f64 / 1e3 / operations as f64
        ));
        Ok(BareRedis {
            operations_per_second,
            p50_us: p50 * 1e3,
            p99_us: p99 * 1e3,
            redis_cpu_ns,
            operations,
        })
    }
}
