//! The containers, by way of compose.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

/// Later than this is never.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Those of one project.
pub(crate) struct Containers {
    /// How compose is called for them: `docker compose -p PROJECT -f FILE`.
    compose: Vec<String>,
}

impl Containers {
    pub(crate) fn of(compose: Vec<String>) -> Self {
        Self { compose }
    }

    /// Runs compose with these arguments; what it prints.
    pub(crate) async fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let called = arguments.join(" ");
        let (program, first) = self.compose.split_first().context("no compose")?;
        let output = Command::new(program)
            .args(first)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("{program} cannot be run"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("compose {called} failed: {said}");
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until both instances are ready, as they say themselves.
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

    /// What all of them have logged.
    pub(crate) async fn logs(&self) -> anyhow::Result<String> {
        self.compose(&["logs", "--no-color"]).await
    }
}
