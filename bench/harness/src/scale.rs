//! How the service's costs grow: with the number of sessions, of connections, of writes.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tee_session_bench_content::Login;
use tokio::time::sleep;

use crate::{
    http::Connection,
    machine::Machine,
    near_cache::{self, NearCache},
    progress::say,
    redis_server::RedisServer,
    results::{Load, Stage},
    servers::{Builds, FIRST_SERVICE, NEAR_CACHE, PLAIN, SLIDING, Server},
    starting::Started,
    store::{Store, write_credentials, write_secret},
    usage::resident_bytes,
    wrk::Script,
};

/// What was measured.
#[derive(Serialize, Deserialize)]
pub(crate) struct Scale {
    pub(crate) machine: Machine,
    /// Of the sliding service, at 64 connections.
    pub(crate) costs: Vec<Cost>,
    pub(crate) memory: Vec<RecordMemory>,
    pub(crate) idle_connections: usize,
    pub(crate) idle_connection_bytes: f64,
    /// Logins at 64 connections.
    pub(crate) write: Load,
    pub(crate) near_cache: Option<NearCache>,
}

/// What a request costs with so many sessions in Redis.
#[derive(Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) sessions: usize,
    pub(crate) load: Load,
}

/// What a session takes in Redis.
#[derive(Serialize, Deserialize)]
pub(crate) struct RecordMemory {
    pub(crate) writer: String,
    pub(crate) sessions: usize,
    pub(crate) bytes_each: f64,
}

/// What is measured.
pub(crate) struct Plan {
    pub(crate) sessions: Vec<usize>,
    /// The first service is slow at making them.
    pub(crate) of_first_service: usize,
    pub(crate) cached: usize,
    pub(crate) logouts: usize,
    pub(crate) idle_connections: usize,
    pub(crate) seconds: u64,
    /// Of which the middle one counts.
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

/// Few sessions say nothing about what each of them takes.
const ENOUGH_TO_WEIGH: usize = 5_000;

/// Redis sees that its clients are gone.
const CLOSED_WITHIN: Duration = Duration::from_millis(500);

pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    builds: &'a Builds,
    pub(crate) folder: &'a Path,
}

/// Measures; `folder` is for what lasts as long as the run.
pub(crate) async fn run(plan: &Plan, builds: &Builds, folder: &Path) -> anyhow::Result<Scale> {
    let run = Run {
        plan,
        builds,
        folder,
    };
    let (mut costs, mut memory) = (Vec::new(), Vec::new());
    for &sessions in &plan.sessions {
        let (record, cost) = run.filled(&SLIDING, Store::Sealed, sessions, true).await?;
        memory.push(record);
        costs.extend(cost.map(|load| Cost { sessions, load }));
        if sessions >= ENOUGH_TO_WEIGH {
            memory.push(run.filled(&PLAIN, Store::Plain, sessions, false).await?.0);
        }
    }
    let first_service = Store::FirstService;
    memory.push(
        run.filled(&FIRST_SERVICE, first_service, plan.of_first_service, false)
            .await?
            .0,
    );
    memory.retain(|record| record.sessions >= ENOUGH_TO_WEIGH);
    let idle_connection_bytes = run.idle_connections().await?;
    let write = run.write().await?;
    let near_cache = if builds.obstacle(&NEAR_CACHE).await?.is_none() {
        Some(near_cache::measure(&run).await?)
    } else {
        say("left out: the near cache, this build has none");
        None
    };
    Ok(Scale {
        machine: Machine::of_this_run().await,
        costs,
        memory,
        idle_connections: plan.idle_connections,
        idle_connection_bytes,
        write,
        near_cache,
    })
}

impl Run<'_> {
    pub(crate) fn start(&self, server: &Server, redis: &RedisServer) -> anyhow::Result<Started> {
        Started::start(self.builds, server, redis, self.folder)
    }

    fn stage(&self) -> Stage {
        Stage {
            connections: 64,
            seconds: self.plan.seconds,
        }
    }

    /// Fills a fresh Redis, weighs a session, and reads them, if that is asked for.
    async fn filled(
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
        let mut credentials = vec![started.logs_in(store).await?];
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
            let measured = the_middle_one(measured).context("no load")?;
            say(&format!(
                "  a read: server {:.1} us, Redis {:.2} us",
                measured.server_cpu(),
                measured.redis_cpu()
            ));
            load = Some(measured);
        }
        // Connections take memory of Redis as well.
        started.stop().await?;
        sleep(CLOSED_WITHIN).await;
        let grown = redis.used_memory().await?.saturating_sub(empty);
        redis.stop().await?;
        let bytes_each = grown as f64 / sessions as f64;
        say(&format!("  {bytes_each:.0} bytes a session in Redis"));
        let record = RecordMemory {
            writer: server.name.to_owned(),
            sessions,
            bytes_each,
        };
        Ok((record, load))
    }

    /// Bytes of the service for a connection that has made a request and waits.
    async fn idle_connections(&self) -> anyhow::Result<f64> {
        let count = self.plan.idle_connections;
        say(&format!("{count} idle connections"));
        let redis = RedisServer::start(self.folder).await?;
        let mut started = self.start(&SLIDING, &redis)?;
        let credential = started.logs_in(Store::Sealed).await?;
        // What it takes to serve at all is not theirs.
        self.warm_up(&started, &redis, &credential).await?;
        let before = resident_bytes(started.pid())?;
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::open(started.port).await?;
            let answer = connection.read(&credential).await?;
            if answer.status != 200 {
                bail!("answered with {}", answer.status);
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

    pub(crate) async fn warm_up(
        &self,
        started: &Started,
        redis: &RedisServer,
        credential: &str,
    ) -> anyhow::Result<()> {
        let one = [credential.to_owned()];
        let file = write_credentials(self.folder.join("credential"), &one)?;
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

    async fn write(&self) -> anyhow::Result<Load> {
        say("logins");
        let redis = RedisServer::start(self.folder).await?;
        let mut started = self.start(&SLIDING, &redis)?;
        started.logs_in(Store::Sealed).await?;
        let body = self.folder.join("login.json");
        write_secret(&body, &serde_json::to_string(&Login::sample())?)?;
        let load = started
            .target(&redis)
            .load(Script::Write(&body), self.stage())
            .await?;
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

/// By processor time of the server. One that failed counts whatever it took.
fn the_middle_one(mut loads: Vec<Load>) -> Option<Load> {
    if let Some(failed) = loads.iter().position(|load| load.failed() > 0) {
        return Some(loads.swap_remove(failed));
    }
    loads.sort_by(|a, b| a.server_cpu().total_cmp(&b.server_cpu()));
    let middle = loads.len() / 2;
    loads.into_iter().nth(middle)
}

impl Scale {
    /// Requests that were not answered with what they asked for.
    pub(crate) fn failed(&self) -> u64 {
        let reads = self.costs.iter().map(|cost| cost.load.failed());
        reads.sum::<u64>() + self.write.failed()
    }
}
