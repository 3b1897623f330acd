//! Where sessions are kept, one database of Redis for each kind, and how they get there: by logging
//! in over HTTP.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, bail};
use serde::Deserialize;
use tee_session_bench_content::Login;
use tokio::task::JoinSet;

use crate::{
    http::{Answer, Connection},
    progress::say,
};

const LOGGING_IN_AT_ONCE: usize = 32;

const PROGRESS_EVERY: usize = 100_000;

/// A kind of record. Its number is that of the database of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Sealed,
    Plain,
    ActixSession,
    TowerSessions,
    /// The plain store as the first service itself fills it.
    FirstService,
    /// What `redis-benchmark` reads.
    Bare,
}

impl Store {
    pub(crate) fn database(self) -> u8 {
        self as u8
    }

    fn login_path(self) -> &'static str {
        match self {
            Self::Sealed | Self::Plain => "/v1/sessions",
            _ => "/login",
        }
    }

    /// Logs in `sessions` times at the server on `port`, and gives the credentials.
    pub(crate) async fn log_in(self, port: u16, sessions: usize) -> anyhow::Result<Vec<String>> {
        let path = self.login_path();
        let body: Arc<str> = serde_json::to_string(&Login::sample())?.into();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..LOGGING_IN_AT_ONCE.min(sessions) {
            let (body, begun) = (Arc::clone(&body), Arc::clone(&begun));
            tasks.spawn(async move {
                let mut connection = Connection::open(port).await?;
                let mut credentials = Vec::new();
                loop {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= sessions {
                        return anyhow::Ok(credentials);
                    }
                    if number > 0 && number.is_multiple_of(PROGRESS_EVERY) {
                        say(&format!("  {number} of {sessions} sessions"));
                    }
                    credentials.push(credential(&connection.post(path, &body).await?)?);
                }
            });
        }
        let mut all = Vec::with_capacity(sessions);
        while let Some(credentials) = tasks.join_next().await {
            all.extend(credentials??);
        }
        Ok(all)
    }
}

/// What a login brought: the header line to come back with.
fn credential(answer: &Answer) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Token {
        access_token: String,
    }
    if answer.status != 201 {
        bail!(
            "a login was answered with {}: {}",
            answer.status,
            answer.body
        );
    }
    if let Some(cookie) = answer.field("Set-Cookie") {
        let pair = cookie.split(';').next().unwrap_or_default();
        return Ok(format!("Cookie: {pair}"));
    }
    let token: Token = serde_json::from_str(&answer.body)?;
    Ok(format!("Authorization: Bearer {}", token.access_token))
}

/// Reads each session twice: its first access slides it, and only what need not slide is kept near.
pub(crate) async fn make_near(port: u16, credentials: &Arc<[String]>) -> anyhow::Result<()> {
    read_each(port, credentials).await?;
    read_each(port, credentials).await
}

/// Reads each session once.
pub(crate) async fn read_each(port: u16, credentials: &Arc<[String]>) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..LOGGING_IN_AT_ONCE {
        let (credentials, next) = (Arc::clone(credentials), Arc::clone(&next));
        tasks.spawn(async move {
            let mut connection = Connection::open(port).await?;
            while let Some(credential) = credentials.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = connection.read(credential).await?;
                if answer.status != 200 {
                    bail!("a session was answered with {}", answer.status);
                }
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Puts credentials where only their owner can read them, a line each.
pub(crate) fn write_credentials(file: PathBuf, credentials: &[String]) -> anyhow::Result<PathBuf> {
    let mut text = credentials.join("\n");
    text.push('\n');
    write_secret(&file, &text)?;
    Ok(file)
}

/// Writes a file that only its owner can read.
pub(crate) fn write_secret(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let opened = options.open(file);
    let mut opened = opened.with_context(|| format!("{} cannot be written", file.display()))?;
    opened.write_all(text.as_bytes())?;
    Ok(())
}
