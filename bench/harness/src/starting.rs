//! A server from its start to its first answer.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    task::{block_in_place, yield_now},
    time::sleep,
};

use crate::{
    http::Connection,
    redis_server::{RedisServer, free_port},
    running::Running,
    servers::{Builds, Server},
    store::Store,
    wrk::Target,
};

const WITHIN: Duration = Duration::from_secs(30);

/// Less than a timer of the runtime can wait for.
const BETWEEN_ATTEMPTS: Duration = Duration::from_micros(200);

/// Each worker connects to Redis by itself, and the first answer is that of one of them.
pub(crate) const ALL_CONNECTED_WITHIN: Duration = Duration::from_millis(300);

/// A server that runs, on a port of its own.
pub(crate) struct Started {
    running: Running,
    pub(crate) port: u16,
    began: Instant,
}

/// When the first 200 came, and how long it was.
pub(crate) struct FirstAnswer {
    pub(crate) after: Duration,
    pub(crate) bytes: usize,
}

impl Started {
    pub(crate) fn start(
        builds: &Builds,
        server: &Server,
        redis: &RedisServer,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let began = Instant::now();
        let running = builds.start(server, port, redis, folder)?;
        Ok(Self {
            running,
            port,
            began,
        })
    }

    /// Waits until it reads the session of `credential`.
    pub(crate) async fn reads(&mut self, credential: &str) -> anyhow::Result<FirstAnswer> {
        loop {
            if let Ok(mut connection) = Connection::open(self.port).await
                && let Ok(answer) = connection.read(credential).await
                && answer.status == 200
            {
                let after = self.began.elapsed();
                sleep(ALL_CONNECTED_WITHIN).await;
                return Ok(FirstAnswer {
                    after,
                    bytes: answer.body.len(),
                });
            }
            self.pause().await?;
        }
    }

    /// Waits until it makes a session, and gives its credential.
    pub(crate) async fn logs_in(&mut self, store: Store) -> anyhow::Result<String> {
        loop {
            if let Ok(credentials) = store.log_in(self.port, 1).await {
                sleep(ALL_CONNECTED_WITHIN).await;
                return credentials.into_iter().next().context("no session");
            }
            self.pause().await?;
        }
    }

    async fn pause(&mut self) -> anyhow::Result<()> {
        self.running.check()?;
        if self.began.elapsed() > WITHIN {
            bail!("no answer within {WITHIN:?}");
        }
        block_in_place(|| thread::sleep(BETWEEN_ATTEMPTS));
        // Whoever interrupts is heard here.
        yield_now().await;
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid
    }

    /// To put it under load.
    pub(crate) fn target<'a>(&self, redis: &'a RedisServer) -> Target<'a> {
        Target {
            port: self.port,
            pid: self.running.pid,
            redis,
        }
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await
    }
}
