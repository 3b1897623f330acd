//! The Redis that all stores live in: one server, without persistence, for each part of a run.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{running::Running, usage::CpuTime};

const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// Work that Redis has counted.
pub(crate) struct Counts {
    pub(crate) commands: u64,
    /// Reads from sockets of clients; the one that finds a connection closed counts too.
    pub(crate) reads: u64,
}

/// A `redis-server` on a free port.
pub(crate) struct RedisServer {
    running: Running,
    pub(crate) port: u16,
}

impl RedisServer {
    /// Starts one, and waits until it answers; its log goes to `folder`.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string()])
            .arg("--dir")
            .arg(folder);
        let mut server = Self {
            running: Running::start(command, &folder.join("redis.log"))?,
            port,
        };
        let deadline = Instant::now() + STARTED_WITHIN;
        while server.command(&["PING"]).await.is_err() {
            server.running.check().context("redis-server")?;
            if Instant::now() > deadline {
                bail!("redis-server does not answer");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// The URL of a database of it.
    pub(crate) fn url(&self, database: u8) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// What `redis-cli` prints for a command.
    pub(crate) async fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("redis-cli");
        command
            .args(["-e", "-p", &self.port.to_string()])
            .args(arguments);
        Running::output(command).await
    }

    /// Returns the counters of its work so far.
    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        let text = self.command(&["INFO", "stats"]).await?;
        Ok(Counts {
            commands: number(&text, "total_commands_processed")?,
            reads: number(&text, "total_reads_processed")?,
        })
    }

    /// Bytes that its allocator gave out.
    pub(crate) async fn used_memory(&self) -> anyhow::Result<u64> {
        number(&self.command(&["INFO", "memory"]).await?, "used_memory")
    }

    /// What it has used of the processors.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        CpuTime::of(self.running.pid)
    }

    /// Stops it in its tracks: connections stay, and nothing is answered.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        self.running.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.running.signal(Signal::SIGCONT)
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await
    }
}

/// A number of the reply to `INFO`.
fn number(info: &str, name: &str) -> anyhow::Result<u64> {
    let value = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().parse().ok())?
    });
    value.with_context(|| format!("INFO lacks {name}"))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
