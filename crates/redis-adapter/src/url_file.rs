//! Reads the Redis users and passwords again for each new connection, from the file that contains
//! the Redis URL (URL file).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    credentials::{Login, LoginSource},
    deployment::Deployment,
    redis_url::RedisUrl,
    regular_file::read_regular_file,
};

/// Timeout for reading the file that contains the Redis URL. The file is read as the first step of
/// each attempt to connect. The timeout of the whole attempt is longer.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes each new connection read its user and password from the file at `path`. `url` is the URL
/// that was read from this file at the start of the process. In a deployment with Sentinel, the
/// user and password for the sentinels are read from the file as well.
pub(crate) fn read_again_from(url: &mut RedisUrl, path: PathBuf) {
    let file = Arc::new(UrlFile::new(url, path));
    if let Deployment::Sentinel { credentials, .. } = &mut url.deployment {
        let (file, peer) = (Arc::clone(&file), Peer::Sentinel);
        credentials.read_from(FileLogin { file, peer });
    }
    let peer = Peer::Redis;
    url.credentials.read_from(FileLogin { file, peer });
}

/// Reads the user and password for one kind of server (Redis or Sentinel) from the file that
/// contains the Redis URL.
struct FileLogin {
    file: Arc<UrlFile>,
    peer: Peer,
}

/// The kind of server for which a user and password are valid.
#[derive(Clone, Copy)]
enum Peer {
    Redis,
    Sentinel,
}

impl LoginSource for FileLogin {
    fn current(&self) -> BoxFuture<'_, Option<Login>> {
        Box::pin(async {
            let logins = self.file.current().await;
            match self.peer {
                Peer::Redis => logins.redis,
                Peer::Sentinel => logins.sentinel,
            }
        })
    }
}

/// The file that contains the Redis URL. All connections that use this URL share one `UrlFile`.
struct UrlFile {
    path: PathBuf,
    /// The URL at the start of the process. If the URL in the file now differs from this URL in
    /// server, scheme or database, the file is not used.
    at_start: RedisUrl,
    // This lock is held while a thread reads the file. If a read hangs, only its thread is blocked.
    // Without the lock, each further attempt to connect would block one more thread.
    reading: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

struct State {
    logins: Logins,
    /// The reason why the last read of the file failed; `None` if the last read succeeded. If the
    /// same reason repeats, no further warning is logged.
    fault: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Logins {
    redis: Option<Login>,
    sentinel: Option<Login>,
}

impl Logins {
    fn of(url: &RedisUrl) -> Self {
        let sentinel = match &url.deployment {
            Deployment::Sentinel { credentials, .. } => credentials.at_start().cloned(),
            Deployment::One(_) | Deployment::Cluster(_) => None,
        };
        Self {
            redis: url.credentials.at_start().cloned(),
            sentinel,
        }
    }
}

impl UrlFile {
    fn new(url: &RedisUrl, path: PathBuf) -> Self {
        Self {
            path,
            at_start: url.clone(),
            reading: Arc::default(),
            state: Mutex::new(State {
                logins: Logins::of(url),
                fault: None,
            }),
        }
    }

    /// Reads the file and returns the users and passwords in it. If the file cannot be used,
    /// returns the users and passwords that were read before.
    async fn current(&self) -> Logins {
        let read = async {
            let turn = Arc::clone(&self.reading).lock_owned().await;
            let path = self.path.clone();
            let read = spawn_blocking(move || (read_url(&path), turn)).await;
            let (url, _turn) = read.map_err(|_| "reading it was cancelled".to_owned())?;
            self.adopt(url.and_then(|url| self.logins_of(&url)));
            Ok(())
        };
        let read = timeout(READ_TIMEOUT, read).await;
        if let Err(reason) = read.unwrap_or_else(|_| Err("reading it takes too long".to_owned())) {
            self.adopt(Err(reason));
        }
        self.state().logins.clone()
    }

    fn logins_of(&self, url: &RedisUrl) -> Result<Logins, String> {
        match self.at_start.difference(url) {
            None => Ok(Logins::of(url)),
            Some(part) => Err(format!("it names another {part}, which needs a restart")),
        }
    }

    /// Stores the result of reading the URL file. If the users or passwords have changed, logs the
    /// change. If the read failed, keeps the users and passwords that were read before, and logs
    /// the reason unless the previous read failed for the same reason.
    fn adopt(&self, read: Result<Logins, String>) {
        let path = self.path.display();
        let mut state = self.state();
        match read {
            Ok(logins) => {
                let is_changed = state.logins != logins;
                *state = State {
                    logins,
                    fault: None,
                };
                drop(state);
                if is_changed {
                    tracing::info!(%path, "Redis credentials read again from the URL file");
                }
            }
            Err(reason) if state.fault.as_ref() != Some(&reason) => {
                state.fault = Some(reason.clone());
                drop(state);
                tracing::warn!(
                    %path,
                    reason,
                    "Redis URL file cannot be used: keeping the former credentials"
                );
            }
            Err(_) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and parses the URL file at `path`. The error text gives the reason and repeats no text of
/// the file, because that text may contain a password.
fn read_url(path: &Path) -> Result<RedisUrl, String> {
    let content = read_regular_file(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let text = str::from_utf8(&content).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    RedisUrl::parse(text.trim_end_matches(['\r', '\n'])).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
