//! Redis databases for the sessions of the benchmark, one for each kind of record. Sessions are
//! created through the HTTP API of the servers.

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
    http::{Connection, Response},
    progress::say,
};

/// Number of concurrent connections that create or read sessions.
const CONCURRENCY: usize = 32;

/// Number of created sessions between two progress messages.
const PROGRESS_EVERY: usize = 100_000;

/// A kind of session record, which has its own Redis database. The discriminant of the variant is
/// the number of that database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Sealed,
    Plain,
    ActixSession,
    TowerSessions,
    /// Plain (unencrypted) records that the first service, the Python predecessor of Tee Session,
    /// has written.
    FirstService,
    /// Records that `redis-benchmark` reads without a server.
    Bare,
}

impl Store {
    /// Returns the number of the Redis database for this kind of record.
    pub(crate) fn database(self) -> u8 {
        self as u8
    }

    fn login_path(self) -> &'static str {
        match self {
            Self::Sealed | Self::Plain => "/v1/sessions",
            _ => "/login",
        }
    }

    /// Creates `sessions` sessions through the server on the port `port`. Returns the credential of
    /// each session.
    pub(crate) async fn log_in(self, port: u16, sessions: usize) -> anyhow::Result<Vec<String>> {
        self.log_in_with(&Login::sample(), port, sessions).await
    }

    /// Creates `sessions` sessions with the request body `login`, like [`log_in`](Self::log_in).
    pub(crate) async fn log_in_with(
        self,
        login: &Login,
        port: u16,
        sessions: usize,
    ) -> anyhow::Result<Vec<String>> {
        let path = self.login_path();
        let body: Arc<str> = serde_json::to_string(login)?.into();
        let started = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..CONCURRENCY.min(sessions) {
            let (body, started) = (Arc::clone(&body), Arc::clone(&started));
            tasks.spawn(async move {
                let mut connection = Connection::open(port).await?;
                let mut credentials = Vec::new();
                loop {
                    let number = started.fetch_add(1, Ordering::Relaxed);
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

/// Returns the header line that authenticates requests for a created session. `response` is the
/// response to the request that created the session.
fn credential(response: &Response) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Token {
        access_token: String,
    }
    if response.status != 201 {
        bail!(
            "a login was answered with {}: {}",
            response.status,
            response.body
        );
    }
    if let Some(cookie) = response.field("Set-Cookie") {
        let pair = cookie.split(';').next().unwrap_or_default();
        return Ok(format!("Cookie: {pair}"));
    }
    let token: Token = serde_json::from_str(&response.body)?;
    Ok(format!("Authorization: Bearer {}", token.access_token))
}

/// Reads each session twice, to fill the near cache. The first read renews the TTL of the session.
/// Only a read that does not renew the TTL adds the session to the near cache.
pub(crate) async fn fill_near_cache(port: u16, credentials: &Arc<[String]>) -> anyhow::Result<()> {
    read_each(port, credentials).await?;
    read_each(port, credentials).await
}

/// Reads each session once. Fails if a response is not 200.
pub(crate) async fn read_each(port: u16, credentials: &Arc<[String]>) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (credentials, next) = (Arc::clone(credentials), Arc::clone(&next));
        tasks.spawn(async move {
            let mut connection = Connection::open(port).await?;
            while let Some(credential) = credentials.get(next.fetch_add(1, Ordering::Relaxed)) {
                let response = connection.read(credential).await?;
                if response.status != 200 {
                    bail!("a look-up was answered with {}", response.status);
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

/// Writes `credentials` to `file`, one per line. Only the owner of the file can read it. Returns
/// the path of the file.
pub(crate) fn write_credentials(file: PathBuf, credentials: &[String]) -> anyhow::Result<PathBuf> {
    let mut text = credentials.join("\n");
    text.push('\n');
    write_secret(&file, &text)?;
    Ok(file)
}

/// Writes `text` to `file`. Only the owner of the file can read it.
pub(crate) fn write_secret(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let opened = options.open(file);
    let mut opened = opened.with_context(|| format!("{} cannot be written", file.display()))?;
    opened.write_all(text.as_bytes())?;
    Ok(())
}
