//! Credentials for each new connection, and the file that they are read from again.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use crate::{deployment::Deployment, redis_url::RedisUrl};

/// Longest URL file that is read.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// Timeout for reading the URL file, well below that of an attempt to connect.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// A password, and the user that it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// `None`: the user `default`.
    pub(crate) username: Option<String>,
    pub(crate) password: Zeroizing<String>,
}

/// The credentials of a URL, or of the file that holds it.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// Login as of the start; `None` if there is no password.
    login: Option<Login>,
    file: Option<(Arc<UrlFile>, Peer)>,
}

/// The kind of server that a login is for.
#[derive(Clone, Copy)]
enum Peer {
    Redis,
    Sentinel,
}

impl Credentials {
    pub(crate) fn new(login: Option<Login>) -> Self {
        Self { login, file: None }
    }

    /// Returns the login for a new connection: that of the URL file, if there is one, as it is now.
    pub(crate) async fn current(&self) -> Option<Login> {
        let Some((file, peer)) = &self.file else {
            return self.login.clone();
        };
        let logins = file.current().await;
        match peer {
            Peer::Redis => logins.redis,
            Peer::Sentinel => logins.sentinel,
        }
    }

    /// Name of the user as of the start.
    pub(crate) fn user(&self) -> &str {
        let username = self
            .login
            .as_ref()
            .and_then(|login| login.username.as_deref());
        username.unwrap_or("default")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Makes `url` read its credentials from the file at `path` for each new connection.
pub(crate) fn read_again_from(url: &mut RedisUrl, path: PathBuf) {
    let file = Arc::new(UrlFile {
        path,
        at_start: url.clone(),
        reading: Arc::default(),
        state: Mutex::new(State {
            logins: Logins::of(url),
            fault: None,
        }),
    });
    if let Deployment::Sentinel { credentials, .. } = &mut url.deployment {
        credentials.file = Some((Arc::clone(&file), Peer::Sentinel));
    }
    url.credentials.file = Some((file, Peer::Redis));
}

/// A file that holds a Redis URL, shared by all connections that are made with it.
struct UrlFile {
    path: PathBuf,
    /// The URL whose servers stay in use.
    at_start: RedisUrl,
    // A read that hangs blocks one thread, not one more with each attempt to connect.
    reading: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

struct State {
    logins: Logins,
    /// Last fault, which is logged once.
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
            Deployment::Sentinel { credentials, .. } => credentials.login.clone(),
            Deployment::One(_) | Deployment::Cluster(_) => None,
        };
        Self {
            redis: url.credentials.login.clone(),
            sentinel,
        }
    }
}

impl UrlFile {
    /// Reads the file, and returns its logins; if it cannot be used, the former ones.
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

    /// Takes the logins over, or keeps the former ones, and logs a change.
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

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a URL file; an error names its reason, never its text.
fn read_url(path: &Path) -> Result<RedisUrl, String> {
    let text = read_text(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    RedisUrl::parse(text.trim_end_matches(['\r', '\n'])).map_err(|error| error.to_string())
}

fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    // A pipe gives its text once, and opening one may block.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    // Bytes that a growing buffer leaves behind would not be wiped.
    let length = file.metadata()?.len().min(MAX_FILE_LEN);
    let capacity = usize::try_from(length).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    let read = file.take(MAX_FILE_LEN + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_LEN) {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
