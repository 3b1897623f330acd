//! Generates load with the program wrk, and measures the CPU time of the server and of Redis during
//! the load.

use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

use crate::{
    load::{Load, Stage, Wrk},
    redis_server::RedisServer,
    running::Running,
    usage::CpuTime,
};

/// Kind of requests that wrk sends.
#[derive(Clone, Copy)]
pub(crate) enum Script<'a> {
    /// Requests that read the sessions whose credentials are in this file.
    Read(&'a Path),
    /// Requests that create sessions, with the request body in this file.
    Write(&'a Path),
    /// The same requests, each with an `Idempotency-Key` of its own.
    RepeatableWrite(&'a Path),
    /// Requests for this page through a gateway, with the sessions whose credentials are in this
    /// file.
    Upstream(&'a Path, &'a str),
    /// Requests that merge `Set-Cookie` lines into the sessions whose credentials are in this file.
    Merge(&'a Path, Merges),
}

/// Effect of the merges that wrk requests.
#[derive(Clone, Copy)]
pub(crate) enum Merges {
    /// Each merge sets a new cookie value.
    Changed,
    /// Each merge sets the cookie value that the session already has.
    Unchanged,
}

/// A running server to which wrk sends requests.
pub(crate) struct Target<'a> {
    pub(crate) port: u16,
    /// Processes whose CPU time is measured. Processes that they have started are included.
    pub(crate) pids: Vec<u32>,
    pub(crate) redis: &'a RedisServer,
}

impl Target<'_> {
    /// Sends requests to the server with the number of connections and the duration in `stage`.
    /// Returns the measured figures.
    pub(crate) async fn load(&self, script: Script<'_>, stage: Stage) -> anyhow::Result<Load> {
        let before = self.redis.counts().await?;
        let (server, redis) = (CpuTime::of(&self.pids), self.redis.cpu_time());
        let wrk = run(self.port, script, stage).await?;
        let server_cpu_ns = CpuTime::of(&self.pids).since(&server);
        let redis_cpu_ns = self.redis.cpu_time().since(&redis);
        let after = self.redis.counts().await?;
        Ok(Load {
            connections: stage.connections,
            wrk,
            server_cpu_ns,
            redis_cpu_ns,
            // Subtracts the work of Redis for reading the counters: one command and two socket
            // reads, one for the command and one for the end of its connection.
            redis_commands: (after.commands - before.commands).saturating_sub(1),
            redis_reads: Some((after.reads - before.reads).saturating_sub(2)),
        })
    }
}

/// Runs wrk against the server on the port `port`. Returns the figures that wrk reports.
async fn run(port: u16, script: Script<'_>, stage: Stage) -> anyhow::Result<Wrk> {
    let (name, argument, more) = match script {
        Script::Read(file) => ("read", file, None),
        Script::Write(file) => ("write", file, None),
        Script::RepeatableWrite(file) => ("write", file, Some("repeatable")),
        Script::Upstream(file, path) => ("upstream", file, Some(path)),
        Script::Merge(file, Merges::Changed) => ("merge", file, Some("changed")),
        Script::Merge(file, Merges::Unchanged) => ("merge", file, Some("unchanged")),
    };
    let mut command = Command::new("wrk");
    command
        .args([
            "--threads",
            "1",
            "--connections",
            &stage.connections.to_string(),
        ])
        .args(["--duration", &format!("{}s", stage.seconds)])
        // By default, wrk counts a response after two seconds as an error. The servers in Python are
        // so slow at 256 connections.
        .args(["--timeout", "20s"])
        .args(["--script", &format!("bench/harness/wrk/{name}.lua")])
        .arg(format!("http://127.0.0.1:{port}"))
        .arg("--")
        .arg(argument)
        .args(more);
    let output = Running::output(command).await?;
    let result = output.lines().find_map(|line| line.strip_prefix("RESULT "));
    let result = result.with_context(|| format!("wrk printed no result: {output}"))?;
    Ok(serde_json::from_str(result)?)
}
