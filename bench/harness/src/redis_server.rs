//! Redis server of the benchmark. Each part of a run starts its own Redis server, without
//! persistence.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{running::Running, usage::CpuTime};

/// Timeout for `redis-server` to reply to PING after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// Numbers of commands and socket reads that Redis has counted.
pub(crate) struct Counts {
    pub(crate) commands: u64,
    /// Number of reads from client sockets, including the reads that detect a closed connection.
    pub(crate) reads: u64,
}

/// A running `redis-server`, with the port on which it listens.
pub(crate) struct RedisServer {
    running: Running,
    pub(crate) port: u16,
}

impl RedisServer {
    /// Starts `redis-server` on a free port, and waits until the server replies. The log of the
    /// server is written to `folder`.
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
                bail!("redis-server does not reply");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Returns the Redis URL of the database with the number `database`.
    pub(crate) fn url(&self, database: u8) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// Runs the Redis command `arguments` with `redis-cli`, and returns the output.
    pub(crate) async fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("redis-cli");
        command
            .args(["-e", "-p", &self.port.to_string()])
            .args(arguments);
        Running::output(command).await
    }

    /// Returns the counters since the start of the server.
    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        let text = self.command(&["INFO", "stats"]).await?;
        Ok(Counts {
            commands: number(&text, "total_commands_processed")?,
            reads: number(&text, "total_reads_processed")?,
        })
    }

    /// Returns the memory that Redis has allocated, in bytes.
    pub(crate) async fn used_memory(&self) -> anyhow::Result<u64> {
        number(&self.command(&["INFO", "memory"]).await?, "used_memory")
    }

    /// Returns the CPU time that Redis has used since its start.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        CpuTime::of(&[self.running.pid])
    }

    /// Pauses the server. Connections stay open, but commands get no reply.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        self.running.signal(Signal::SIGSTOP)
    }

    /// Resumes the paused server.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.running.signal(Signal::SIGCONT)
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.stop().await
    }
}

/// Returns the number in the line `name` of `info`, which is a reply to the command `INFO`.
fn number(info: &str, name: &str) -> anyhow::Result<u64> {
    let value = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().parse().ok())?
    });
    value.with_context(|| format!("INFO lacks {name}"))
}

/// Returns a TCP port that no program used at the time of the call.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
