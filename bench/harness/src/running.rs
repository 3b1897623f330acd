//! Child processes that run servers and tools. A child process is killed when its [`Running`] value
//! is dropped.

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

/// A child process, together with all processes that the child process starts. Dropping this value
/// kills all of these processes.
pub(crate) struct Running {
    child: Child,
    /// Id of the child process, which is also the id of its process group.
    pub(crate) pid: u32,
}

impl Running {
    /// Starts `command`. Standard output and standard error of the process are written to the file
    /// `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log)?;
        command
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        // Creates a new process group for the child, so that the worker processes of a server are
        // killed together with the server.
        let child = command.process_group(0).spawn();
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let child = child.with_context(|| format!("{program} cannot be started"))?;
        let pid = child.id().context("the process exited immediately")?;
        Ok(Self { child, pid })
    }

    /// Runs `command` until the process exits, and returns the standard output of the process.
    /// Fails if the exit code is not 0.
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
        let (mut text, mut errors) = (String::new(), String::new());
        let mut stdout = running.child.stdout.take().context("no output")?;
        let mut stderr = running.child.stderr.take().context("no output")?;
        try_join!(
            stdout.read_to_string(&mut text),
            stderr.read_to_string(&mut errors)
        )?;
        let status = running.child.wait().await?;
        if !status.success() {
            bail!("{program} exited with {status}: {text}{errors}");
        }
        Ok(text)
    }

    /// Checks that the process is still running. Fails if the process has exited.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the process exited with {status}"),
            None => Ok(()),
        }
    }

    /// Sends `signal` to all processes of the process group.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(killpg(Pid::from_raw(i32::try_from(self.pid)?), signal)?)
    }

    /// Kills all processes of the process group, and waits until the child process has exited.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.kill();
        self.child.wait().await?;
        Ok(())
    }

    /// Kills all processes of the process group with SIGKILL. A graceful shutdown is not needed,
    /// because no server has data to save.
    fn kill(&self) {
        // An error is ignored, because all processes of the group may already have exited.
        let _ = self.signal(Signal::SIGKILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
