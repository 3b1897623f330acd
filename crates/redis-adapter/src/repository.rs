//! A session repository that stores each session as a record in Redis.

pub(crate) mod commands;
pub(crate) mod compare_and_swap;
mod locations;
mod migration;
mod repeatable_move;
mod rotate;
mod session_repository;

use std::{sync::Arc, time::Duration};

use tee_session_domain::{RepositoryError, StoreClock};
use tokio::{runtime::Handle, time::Instant};

use crate::{RedisSettings, StorageFormat, pool::Pool};

/// A session repository in Redis. Clones share their connections.
///
/// A repository belongs to the tokio runtime on which it was created. That runtime also drives the
/// timeouts of calls, so the runtime must run while the repository is in use.
///
/// The repository connects to Redis in the background. Calls during the first attempt to connect
/// wait for the end of that attempt. After that, calls fail at once with
/// [`RepositoryError::Unavailable`] while there is no connection.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tee_session_domain::{SessionManager, SessionPolicy, SessionRepository};
/// use tee_session_redis_adapter::{RedisRepository, RedisSettings};
///
/// let settings = RedisSettings::new("redis://127.0.0.1:6379/0")?;
/// let repository = RedisRepository::connect_pool(&settings, 2);
/// repository.wait_until_connected(Duration::from_secs(5)).await?;
/// let sessions = SessionManager::new(repository.clone(), SessionPolicy::default());
/// // ...
/// repository.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RedisRepository {
    pub(crate) pool: Pool,
    clock: Arc<StoreClock>,
    command_timeout: Duration,
    pub(crate) format: StorageFormat,
    pub(crate) accept_plain: bool,
    /// Runtime for background tasks, such as the renewal of an index entry. No call waits for these
    /// tasks.
    pub(crate) runtime: Handle,
}

impl RedisRepository {
    /// Creates a repository with one connection (in a cluster, one connection to each primary).
    ///
    /// Use this function on a runtime with one thread, such as the runtime of an Actix worker.
    /// Calls then need no wake-ups between threads. A connection that several threads share costs
    /// such wake-ups.
    ///
    /// # Panics
    /// Panics if called outside a tokio runtime.
    #[must_use]
    pub fn connect(settings: &RedisSettings) -> Self {
        Self::connect_pool(settings, 1)
    }

    /// Creates a repository for several threads, with `size` connections (in a cluster, `size`
    /// connections to each primary). A `size` of zero counts as one. Two to four connections are
    /// enough, because the commands of concurrent calls are sent together.
    ///
    /// # Panics
    /// Panics if called outside a tokio runtime.
    #[must_use]
    pub fn connect_pool(settings: &RedisSettings, size: usize) -> Self {
        let clock = Arc::new(StoreClock::from_system());
        Self {
            pool: Pool::open(settings, size, &clock),
            clock,
            command_timeout: settings.command_timeout,
            format: settings.storage_format,
            accept_plain: settings.accept_plain,
            runtime: Handle::current(),
        }
    }

    /// Waits until every connection is up.
    ///
    /// # Errors
    /// Returns [`RepositoryError::Unavailable`] if a connection is still down after the time
    /// `within`, or if the repository was closed. After a timeout, the repository continues to
    /// connect in the background.
    pub async fn wait_until_connected(&self, within: Duration) -> Result<(), RepositoryError> {
        Ok(self.pool.wait_until_connected(within).await?)
    }

    /// Returns the deadline of a call that starts now: the current time plus the command timeout.
    /// The deadline covers all round trips of the call. In a few calls, such as a rotation in a
    /// cluster, each step has its own deadline.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.command_timeout
    }
}
