//! Redis users and passwords for new connections.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

/// A user and password for Redis or for the sentinels.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Name of the Redis or sentinel user; `None` for the user `default`.
    pub(crate) username: Option<String>,
    pub(crate) password: Zeroizing<String>,
}

/// Source of a user and password that may change while the process runs. An example is the file
/// that contains the Redis URL.
pub(crate) trait LoginSource: Send + Sync {
    /// Returns the user and password for a new connection. Returns `None` if there is no password.
    fn current(&self) -> BoxFuture<'_, Option<Login>>;
}

/// The user and password of a Redis URL. If the URL comes from a file, each new connection reads
/// the user and password from that file again.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// The user and password at the start of the process; `None` if the URL has no password.
    login: Option<Login>,
    /// Source from which each new connection reads the user and password. `None` if the user and
    /// password do not change while the process runs.
    source: Option<Arc<dyn LoginSource>>,
}

impl Credentials {
    pub(crate) fn new(login: Option<Login>) -> Self {
        Self {
            login,
            source: None,
        }
    }

    /// Makes each new connection read its user and password from `source`.
    pub(crate) fn read_from(&mut self, source: impl LoginSource + 'static) {
        self.source = Some(Arc::new(source));
    }

    /// Returns the user and password that the Redis URL contained when the process started. Returns
    /// `None` if the URL contained no password.
    pub(crate) fn at_start(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Returns the user and password for a new connection. Reads them from the file that contains
    /// the Redis URL if there is such a file, and otherwise takes them from the URL. Returns `None`
    /// if there is no password.
    pub(crate) async fn current(&self) -> Option<Login> {
        match &self.source {
            Some(source) => source.current().await,
            None => self.login.clone(),
        }
    }

    /// Returns the Redis user that the URL named when the process started, or `default` if the URL
    /// named no user.
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
