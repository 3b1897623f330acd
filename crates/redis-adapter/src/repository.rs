//! The repository: sessions as records in Redis.

mod commands;
mod migration;

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::types::Key;
use futures_util::future::{join, join_all};
use tee_session_domain::{
    InsertOutcome, PeekedSession, RepositoryError, Session, SessionRepository, SessionToken,
    StoreClock,
};
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::{
    RedisFault, RedisSettings, StorageFormat,
    connection::{Connection, PROBE_KEY, probe_write},
    record::Slot,
};

/// Sessions in Redis. Clones share their connections.
///
/// A repository lives on the tokio runtime that it was made on. It connects in the background:
/// until it has, and whenever it has lost Redis, its calls fail at once with
/// [`RepositoryError::Unavailable`].
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
    connections: Arc<[Connection]>,
    next: Arc<AtomicUsize>,
    clock: Arc<StoreClock>,
    command_timeout: Duration,
    format: StorageFormat,
    accept_plain: bool,
    is_clustered: bool,
}

impl RedisRepository {
    /// A repository with one connection: for a runtime with one thread, such as an Actix
    /// worker's, where it spares the wake-ups between threads that a shared one costs.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect(settings: &RedisSettings) -> Self {
        Self::connect_pool(settings, 1)
    }

    /// A repository that threads share, with `size` connections (at least one; two to four are
    /// plenty, since commands of concurrent calls travel together).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect_pool(settings: &RedisSettings, size: usize) -> Self {
        let clock = Arc::new(StoreClock::from_system());
        let connections =
            (0..size.max(1)).map(|_| Connection::open(settings.clone(), Arc::clone(&clock)));
        Self {
            connections: connections.collect(),
            next: Arc::default(),
            clock,
            command_timeout: settings.command_timeout,
            format: settings.storage_format,
            accept_plain: settings.accept_plain,
            is_clustered: settings.is_clustered(),
        }
    }

    /// Waits until every connection is up.
    ///
    /// # Errors
    /// `Unavailable` when that took longer than `within`, or the repository was closed. It goes
    /// on trying all the same.
    pub async fn wait_until_connected(&self, within: Duration) -> Result<(), RepositoryError> {
        let all = join_all(
            self.connections
                .iter()
                .map(Connection::wait_until_connected),
        );
        match timeout(within, all).await {
            Ok(up) if up.iter().all(|up| *up) => Ok(()),
            _ => Err(RedisFault::NotConnected { command: "PING" }.into()),
        }
    }

    /// The next connection in turn, or another one if that is down or silent.
    fn connection(&self) -> &Connection {
        let first = match self.connections.len() {
            1 => 0,
            connections => self.next.fetch_add(1, Ordering::Relaxed) % connections,
        };
        let (before, from) = self.connections.split_at(first);
        from.iter()
            .chain(before)
            .find(|connection| connection.serves())
            .unwrap_or(&self.connections[first])
    }

    /// Bounds a whole call, which may take several round trips, by the time of one command, and
    /// lets its connection know what came of it.
    async fn in_time<T>(
        &self,
        connection: &Connection,
        command: &'static str,
        call: Pin<&mut (impl Future<Output = Result<T, RepositoryError>> + Send)>,
    ) -> Result<T, RepositoryError> {
        let answered = timeout(self.command_timeout, call).await;
        let result = answered.unwrap_or_else(|_| Err(RedisFault::TimedOut { command }.into()));
        connection.note(&result);
        result
    }

    fn places(&self, token: &SessionToken) -> Places {
        let slot = |format| Slot::new(format, token);
        match (self.format, self.accept_plain) {
            (StorageFormat::Sealed, false) => Places::One(slot(StorageFormat::Sealed)),
            (StorageFormat::Sealed, true) => Places::Moving {
                plain: slot(StorageFormat::Plain),
                sealed: slot(StorageFormat::Sealed),
            },
            (StorageFormat::Plain, _) => Places::PlainElseSealed {
                plain: slot(StorageFormat::Plain),
                sealed: slot(StorageFormat::Sealed),
            },
        }
    }
}

/// Where a session may stand.
enum Places {
    One(Slot),
    /// Plain is written; sealed ones are left from instances that were rolled back.
    PlainElseSealed {
        plain: Slot,
        sealed: Slot,
    },
    /// Sealed is written; plain ones are left from before, and sealed when they are accessed.
    Moving {
        plain: Slot,
        sealed: Slot,
    },
}

// fred's futures are large (7 KB a command): what is rarely awaited is boxed, so that it does
// not make every call larger.
impl SessionRepository for RedisRepository {
    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        let connection = self.connection();
        let client = connection.client("SET")?;
        let call = pin!(async {
            commands::insert(&client, &Slot::new(self.format, token), session, ttl).await
        });
        self.in_time(connection, "SET", call).await
    }

    /// One round trip, but for what stands in the other format.
    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let connection = self.connection();
        let client = connection.client("GET")?;
        let call = pin!(async {
            let (first, second) = match self.places(token) {
                Places::One(slot) => (slot, None),
                Places::PlainElseSealed { plain, sealed } => (plain, Some(sealed)),
                Places::Moving { plain, sealed } => {
                    return Box::pin(migration::slide(&client, &plain, &sealed, ttl)).await;
                }
            };
            match (commands::slide(&client, &first, ttl).await?, second) {
                (None, Some(second)) => Box::pin(commands::slide(&client, &second, ttl)).await,
                (found, _) => Ok(found),
            }
        });
        self.in_time(connection, "GET", call).await
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        let connection = self.connection();
        let client = connection.client("GET")?;
        let call = pin!(async {
            let (first, second) = match self.places(token) {
                Places::One(slot) => (slot, None),
                Places::PlainElseSealed { plain, sealed } => (plain, Some(sealed)),
                Places::Moving { plain, sealed } => {
                    return Box::pin(migration::peek(&client, &plain, &sealed)).await;
                }
            };
            match (commands::peek(&client, &first).await?, second) {
                (None, Some(second)) => Box::pin(commands::peek(&client, &second)).await,
                (found, _) => Ok(found),
            }
        });
        self.in_time(connection, "GET", call).await
    }

    /// Wherever the session stands, or is being moved to: in one command, but in a cluster,
    /// where no session moves.
    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let connection = self.connection();
        let client = connection.client("DEL")?;
        let call = pin!(async {
            match self.places(token) {
                Places::One(slot) => commands::delete(&client, vec![slot.key().clone()]).await,
                Places::PlainElseSealed { plain, sealed } if self.is_clustered => {
                    let plain = vec![plain.key().clone()];
                    let plain = Box::pin(commands::delete(&client, plain)).await?;
                    let sealed = vec![sealed.key().clone()];
                    Ok(Box::pin(commands::delete(&client, sealed)).await? || plain)
                }
                Places::PlainElseSealed { plain, sealed } | Places::Moving { plain, sealed } => {
                    let both = vec![plain.key().clone(), sealed.key().clone()];
                    Box::pin(commands::delete(&client, both)).await
                }
            }
        });
        self.in_time(connection, "DEL", call).await
    }

    /// Asks for what requests need, a read and a write, where no session stands.
    async fn ping(&self) -> Result<(), RepositoryError> {
        let connection = self.connection();
        let client = connection.client_to_probe("GET")?;
        let call = pin!(async {
            let key = Key::from_static_str(PROBE_KEY);
            let (read, write) = join(commands::get(&client, &key), probe_write(&client)).await;
            read?;
            Ok(write?)
        });
        self.in_time(connection, "GET", call).await
    }

    /// The clock of Redis, as its last heartbeat told it.
    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Ends within about a second, whatever Redis does.
    async fn close(&self) {
        join_all(self.connections.iter().map(Connection::close)).await;
    }
}
