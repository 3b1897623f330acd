//! Load, and what it costs: wrk drives, and what the kernel counted meanwhile is set against it.

use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

use crate::{
    redis_server::RedisServer,
    results::{Load, Stage, Wrk},
    running::Running,
    usage::CpuTime,
};

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Script<'a> {
    /// Reads the sessions of a file of credentials.
    Read(&'a Path),
    /// Makes sessions of the body in a file.
    Write(&'a Path),
}

/// A server under test.
pub(crate) struct Target<'a> {
    pub(crate) port: u16,
    pub(crate) pid: u32,
    pub(crate) redis: &'a RedisServer,
}

impl Target<'_> {
    /// Puts it under load.
    pub(crate) async fn load(&self, script: Script<'_>, stage: Stage) -> anyhow::Result<Load> {
        let before = self.redis.counts().await?;
        let (server, redis) = (CpuTime::of(self.pid), self.redis.cpu_time());
        let wrk = run(self.port, script, stage).await?;
        let server_cpu_ns = CpuTime::of(self.pid).since(&server);
        let redis_cpu_ns = self.redis.cpu_time().since(&redis);
        let after = self.redis.counts().await?;
        Ok(Load {
            connections: stage.connections,
            wrk,
            server_cpu_ns,
            redis_cpu_ns,
            // The counting itself was one command, a closed connection and a read.
            redis_commands: (after.commands - before.commands).saturating_sub(1),
            redis_reads: Some((after.reads - before.reads).saturating_sub(2)),
        })
    }
}

async fn run(port: u16, script: Script<'_>, stage: Stage) -> anyhow::Result<Wrk> {
    let (name, argument) = match script {
        Script::Read(file) => ("read", file),
        Script::Write(file) => ("write", file),
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
        .args(["--script", &format!("bench/harness/wrk/{name}.lua")])
        .arg(format!("http://127.0.0.1:{port}"))
        .arg("--")
        .arg(argument);
    let output = Running::output(command).await?;
    let result = output.lines().find_map(|line| line.strip_prefix("RESULT "));
    let result = result.with_context(|| format!("wrk has no result: {output}"))?;
    Ok(serde_json::from_str(result)?)
}
