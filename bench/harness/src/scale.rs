//! Scale run: measures how the costs of Tee Session grow with the number of sessions, connections
//! and writes.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tee_session_bench_content::Login;
use tokio::time::sleep;

use crate::{
    http::Connection,
    load::{Load, Stage},
    machine::Machine,
    near_cache::{self, NearCache},
    progress::say,
    redis_server::RedisServer,
    scale_run::{Plan, Run},
    servers::{Builds, FIRST_SERVICE, NEAR_CACHE, PLAIN, SLIDING, Server},
    starting::Started,
    store::{Store, write_credentials, write_secret},
    usage::resident_bytes,
    wrk::Script,
};

/// Results of a scale run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Scale {
    pub(crate) machine: Machine,
    /// Costs of look-ups that renew the TTL, at 64 connections, for each number of sessions.
    pub(crate) costs: Vec<Cost>,
    pub(crate) memory: Vec<RecordMemory>,
    pub(crate) idle_connections: usize,
    pub(crate) idle_connection_bytes: f64,
    /// Costs of requests that create sessions, at 64 connections.
    pub(crate) write: Load,
    /// Costs of the same requests if each has an `Idempotency-Key`.
    pub(crate) repeatable_write: Load,
    pub(crate) near_cache: Option<NearCache>,
}

/// Cost of a look-up while Redis contains `sessions` sessions.
#[derive(Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) sessions: usize,
    pub(crate) load: Load,
}

/// Memory that Redis uses for each session that the server `writer` has stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct RecordMemory {
    pub(crate) writer: String,
    pub(crate) sessions: usize,
    pub(crate) bytes_each: f64,
}

/// Minimum number of sessions for a meaningful measurement of memory per session.
const MIN_SESSIONS_FOR_MEMORY: usize = 5_000;

/// Pause after a server is stopped. In this time, Redis notices that the connections of the server
/// are closed.
const CLOSED_WITHIN: Duration = Duration::from_millis(500);

/// Runs all measurements of a scale run. `folder` is for temporary files.
pub(crate) async fn run(plan: &Plan, builds: &Builds, folder: &Path) -> anyhow::Result<Scale> {
    let run = Run {
        plan,
        builds,
        folder,
    };
    let (mut costs, mut memory) = (Vec::new(), Vec::new());
    for &sessions in &plan.sessions {
        let (record, cost) = run
            .measure_filled(&SLIDING, Store::Sealed, sessions, true)
            .await?;
        memory.push(record);
        costs.extend(cost.map(|load| Cost { sessions, load }));
        if sessions >= MIN_SESSIONS_FOR_MEMORY {
            memory.push(
                run.measure_filled(&PLAIN, Store::Plain, sessions, false)
                    .await?
                    .0,
            );
        }
    }
    let first_service = Store::FirstService;
    memory.push(
        run.measure_filled(&FIRST_SERVICE, first_service, plan.of_first_service, false)
            .await?
            .0,
    );
    memory.retain(|record| record.sessions >= MIN_SESSIONS_FOR_MEMORY);
    let idle_connection_bytes = run.idle_connections().await?;
    let (write, repeatable_write) = run.writes().await?;
    let near_cache = if builds.obstacle(&NEAR_CACHE).await?.is_none() {
        Some(near_cache::measure(&run).await?)
    } else {
        say("left out: the near cache, which this build does not support");
        None
    };
    Ok(Scale {
        machine: Machine::of_this_run().await,
        costs,
        memory,
        idle_connections: plan.idle_connections,
        idle_connection_bytes,
        write,
        repeatable_write,
        near_cache,
    })
}

impl Run<'_> {
    fn stage(&self) -> Stage {
        Stage {
            connections: 64,
            seconds: self.plan.seconds,
        }
    }

    /// Stores `sessions` sessions in an empty Redis through `server`, and measures the memory that
    /// Redis uses for each session. If `reads` is `true`, also measures the cost of look-ups.
    async fn measure_filled(
        &self,
        server: &Server,
        store: Store,
        sessions: usize,
        reads: bool,
    ) -> anyhow::Result<(RecordMemory, Option<Load>)> {
        say(&format!("{sessions} sessions: {}", server.name));
        let redis = RedisServer::start(self.folder).await?;
        let empty = redis.used_memory().await?;
        let mut started = self.start(server, &redis)?;
        let mut credentials = vec![started.until_session_is_created(store).await?];
        credentials.extend(store.log_in(started.port, sessions - 1).await?);
        let mut load = None;
        if reads {
            let file = write_credentials(self.folder.join("credentials"), &credentials)?;
            let target = started.target(&redis);
            let warm_up = Stage {
                seconds: 1,
                ..self.stage()
            };
            target.load(Script::Read(&file), warm_up).await?;
            let mut measured = Vec::new();
            for _ in 0..self.plan.loads {
                measured.push(target.load(Script::Read(&file), self.stage()).await?);
            }
            let measured = median_load(measured).context("no load")?;
            say(&format!(
                "  per read: server {:.1} us, Redis {:.2} us",
                measured.server_cpu(),
                measured.redis_cpu()
            ));
            load = Some(measured);
        }
        // The server is stopped before the memory is measured, because Redis also uses memory for
        // the connections of the server.
        started.stop().await?;
        sleep(CLOSED_WITHIN).await;
        let grown = redis.used_memory().await?.saturating_sub(empty);
        redis.stop().await?;
        let bytes_each = grown as f64 / sessions as f64;
        say(&format!("  {bytes_each:.0} bytes per session in Redis"));
        let record = RecordMemory {
            writer: server.name.to_owned(),
            sessions,
            bytes_each,
        };
        Ok((record, load))
    }

    /// Measures the memory that the service uses for a connection that is idle after one request,
    /// in bytes.
    async fn idle_connections(&self) -> anyhow::Result<f64> {
        let count = self.plan.idle_connections;
        say(&format!("{count} idle connections"));
        let redis = RedisServer::start(self.folder).await?;
        let mut started = self.start(&SLIDING, &redis)?;
        let credential = started.until_session_is_created(Store::Sealed).await?;
        // Without a warm-up, the memory that the service allocates for its first requests would be
        // counted as memory of the connections.
        self.warm_up(&started, &redis, &credential).await?;
        let before = resident_bytes(started.pid())?;
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::open(started.port).await?;
            let response = connection.read(&credential).await?;
            if response.status != 200 {
                bail!("a look-up was answered with {}", response.status);
            }
            connections.push(connection);
        }
        let grown = resident_bytes(started.pid())?.saturating_sub(before);
        let each = grown as f64 / count as f64;
        say(&format!("  {each:.0} bytes each"));
        started.stop().await?;
        redis.stop().await?;
        Ok(each)
    }

    /// Sends look-ups of one session for one second, and discards the results. `credential` belongs
    /// to the session.
    pub(crate) async fn warm_up(
        &self,
        started: &Started,
        redis: &RedisServer,
        credential: &str,
    ) -> anyhow::Result<()> {
        let credentials = [credential.to_owned()];
        let file = write_credentials(self.folder.join("credential"), &credentials)?;
        let stage = Stage {
            seconds: 1,
            ..self.stage()
        };
        started
            .target(redis)
            .load(Script::Read(&file), stage)
            .await?;
        Ok(())
    }

    /// Measures the cost of requests that create sessions, without and with an `Idempotency-Key`.
    async fn writes(&self) -> anyhow::Result<(Load, Load)> {
        let body = self.folder.join("login.json");
        write_secret(&body, &serde_json::to_string(&Login::sample())?)?;
        let write = self.write("logins", Script::Write(&body)).await?;
        let script = Script::RepeatableWrite(&body);
        let repeatable = self.write("logins with an Idempotency-Key", script);
        Ok((write, repeatable.await?))
    }

    async fn write(&self, name: &str, script: Script<'_>) -> anyhow::Result<Load> {
        say(name);
        let redis = RedisServer::start(self.folder).await?;
        let mut started = self.start(&SLIDING, &redis)?;
        started.until_session_is_created(Store::Sealed).await?;
        let load = started.target(&redis).load(script, self.stage()).await?;
        say(&format!(
            "  server {:.1} us, Redis {:.2} us",
            load.server_cpu(),
            load.redis_cpu()
        ));
        started.stop().await?;
        redis.stop().await?;
        Ok(load)
    }
}

/// Returns the measurement with the median CPU time of the server. If a measurement has failed
/// requests, returns that measurement instead, so that the failure is reported. Returns `None` if
/// `loads` is empty.
fn median_load(mut loads: Vec<Load>) -> Option<Load> {
    if let Some(failed) = loads.iter().position(|load| load.failed() > 0) {
        return Some(loads.swap_remove(failed));
    }
    loads.sort_by(|a, b| a.server_cpu().total_cmp(&b.server_cpu()));
    let middle = loads.len() / 2;
    loads.into_iter().nth(middle)
}

impl Scale {
    /// Returns the number of failed requests in all measurements of the scale run.
    pub(crate) fn failed(&self) -> u64 {
        let reads = self.costs.iter().map(|cost| cost.load.failed());
        reads.sum::<u64>() + self.write.failed() + self.repeatable_write.failed()
    }
}
