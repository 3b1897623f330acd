//! Controls the containers of a Docker Compose project.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

/// Timeout for both service instances to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The containers of one Docker Compose project.
pub(crate) struct Containers {
    /// Program and first arguments of each compose command: `docker compose -p PROJECT -f FILE`.
    compose: Vec<String>,
}

impl Containers {
    pub(crate) fn of(compose: Vec<String>) -> Self {
        Self { compose }
    }

    /// Runs a compose command with `arguments`, and returns the standard output of the command.
    /// Fails if the command fails.
    pub(crate) async fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let command_line = arguments.join(" ");
        let (program, first) = self
            .compose
            .split_first()
            .context("the compose command is empty")?;
        let output = Command::new(program)
            .args(first)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("{program} cannot be run"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("compose {command_line} failed: {errors}");
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the readiness probes of both service instances succeed. Fails after
    /// [`READY_WITHIN`].
    pub(crate) async fn until_ready(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        for instance in ["api-1", "api-2"] {
            let probe = ["exec", "-T", instance, "tee-session", "probe", "--ready"];
            while let Err(error) = self.compose(&probe).await {
                if began.elapsed() > READY_WITHIN {
                    return Err(error);
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Returns the logs of all containers.
    pub(crate) async fn logs(&self) -> anyhow::Result<String> {
        self.compose(&["logs", "--no-color"]).await
    }
}
