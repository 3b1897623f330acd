//! Servers and tools as child processes that end with whoever started them.

use std::{fs::File, path::Path, process::Stdio};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    try_join,
};

/// A child process, and all that it starts. They end with the value.
pub(crate) struct Running {
    child: Child,
    /// Also the id of its process group.
    pub(crate) pid: u32,
}

impl Running {
    /// Starts `command` with its output in the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log)?;
        command
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        // A group of its own, so that the workers of a server end with it.
        let child = command.process_group(0).spawn();
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let child = child.with_context(|| format!("{program} does not start"))?;
        let pid = child.id().context("ended at once")?;
        Ok(Self { child, pid })
    }

    /// Runs `command` to its end, and gives what it wrote to standard output.
    pub(crate) async fn output(mut command: Command) -> anyhow::Result<String> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let mut running = Self::spawn(command)?;
        let (mut text, mut complaint) = (String::new(), String::new());
        let mut stdout = running.child.stdout.take().context("no output")?;
        let mut stderr = running.child.stderr.take().context("no output")?;
        try_join!(
            stdout.read_to_string(&mut text),
            stderr.read_to_string(&mut complaint)
        )?;
        let status = running.child.wait().await?;
        if !status.success() {
            bail!("{program} ended with {status}: {text}{complaint}");
        }
        Ok(text)
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("ended with {status}"),
            None => Ok(()),
        }
    }

    /// Sends it, and all that it started, a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(killpg(Pid::from_raw(i32::try_from(self.pid)?), signal)?)
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.kill();
        self.child.wait().await?;
        Ok(())
    }

    /// None of the servers has anything to keep.
    fn kill(&self) {
        // It may have ended already.
        let _ = self.signal(Signal::SIGKILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
