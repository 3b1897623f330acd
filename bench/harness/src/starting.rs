//! Starts a server, and waits for its first response.

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

/// Timeout for the first successful response of a server after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// Pause between two attempts to get a response. The timers of the async runtime are too coarse for
/// such a short pause, so the thread sleeps instead.
const BETWEEN_ATTEMPTS: Duration = Duration::from_micros(200);

/// Time from the first response of a server until all its workers are connected to Redis. Each
/// worker connects separately, and the first response shows only that one worker is connected.
pub(crate) const ALL_CONNECTED_WITHIN: Duration = Duration::from_millis(300);

/// A started server, with the port on which it listens.
pub(crate) struct Started {
    running: Running,
    pub(crate) port: u16,
    began: Instant,
}

/// First response of a server with status 200: its delay after the start, and the size of its body.
pub(crate) struct FirstResponse {
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

    /// Sends look-ups with `credential` until the server returns the session. Returns the delay and
    /// the size of the first response.
    pub(crate) async fn until_session_is_read(
        &mut self,
        credential: &str,
    ) -> anyhow::Result<FirstResponse> {
        loop {
            if let Ok(mut connection) = Connection::open(self.port).await
                && let Ok(response) = connection.read(credential).await
                && response.status == 200
            {
                let after = self.began.elapsed();
                sleep(ALL_CONNECTED_WITHIN).await;
                return Ok(FirstResponse {
                    after,
                    bytes: response.body.len(),
                });
            }
            self.pause().await?;
        }
    }

    /// Sends requests that create a session until one succeeds. Returns the credential of the
    /// session.
    pub(crate) async fn until_session_is_created(
        &mut self,
        store: Store,
    ) -> anyhow::Result<String> {
        loop {
            if let Ok(credentials) = store.log_in(self.port, 1).await {
                sleep(ALL_CONNECTED_WITHIN).await;
                return credentials.into_iter().next().context("no session");
            }
            self.pause().await?;
        }
    }

    /// Waits before the next attempt. Fails if the server has exited or [`STARTED_WITHIN`] has
    /// passed.
    async fn pause(&mut self) -> anyhow::Result<()> {
        self.running.check()?;
        if self.began.elapsed() > STARTED_WITHIN {
            bail!("no response within {STARTED_WITHIN:?}");
        }
        block_in_place(|| thread::sleep(BETWEEN_ATTEMPTS));
        // Lets the async runtime handle signals.
        yield_now().await;
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid
    }

    /// Returns this server as a target of the load generator wrk.
    pub(crate) fn target<'a>(&self, redis: &'a RedisServer) -> Target<'a> {
        Target {
            port: self.port,
            pids: vec![self.running.pid],
            redis,
        }
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await
    }
}
