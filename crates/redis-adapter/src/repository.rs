//! The repository: sessions as records in Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fred::{
    interfaces::{ClientLike, KeysInterface},
    types::{Expiration, ExpireOptions, Key, SetOptions},
};
use futures_util::future::{join, join_all};
use tee_session_domain::{
    InsertOutcome, PeekedSession, RepositoryError, Session, SessionRepository, SessionToken,
    StoreClock,
};
use time::OffsetDateTime;

use crate::{RedisFault, RedisSettings, StorageFormat, connection::Connection};

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
    format: StorageFormat,
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
            format: settings.storage_format,
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
        match tokio::time::timeout(within, all).await {
            Ok(up) if up.iter().all(|up| *up) => Ok(()),
            _ => Err(RedisFault::NotConnected { command: "PING" }.into()),
        }
    }

    /// The next connection in turn, or another one if that is down.
    fn connection(&self) -> &Connection {
        let first = match self.connections.len() {
            1 => 0,
            connections => self.next.fetch_add(1, Ordering::Relaxed) % connections,
        };
        let (before, from) = self.connections.split_at(first);
        from.iter()
            .chain(before)
            .find(|connection| connection.is_connected())
            .unwrap_or(&self.connections[first])
    }

    fn decode(&self, value: &Bytes) -> Result<Session, RepositoryError> {
        self.format.decode(value).map_err(RepositoryError::corrupt)
    }
}

impl SessionRepository for RedisRepository {
    /// `SET key value EX ttl NX`.
    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        let client = self.connection().client("SET")?;
        let (key, value) = (self.format.key(token), self.format.encode(session));
        let expiration = Some(Expiration::EX(whole_seconds(ttl)));
        let reply: Option<String> = client
            .set(key, value, expiration, Some(SetOptions::NX), false)
            .await
            .map_err(|error| RedisFault::new("SET", &error))?;
        Ok(match reply {
            Some(_) => InsertOutcome::Inserted,
            None => InsertOutcome::TokenTaken,
        })
    }

    /// `GET key` and `EXPIRE key ttl XX`, sent together: the answer is right as of the GET, and
    /// EXPIRE cannot bring back what is gone. `XX` leaves alone what has no expiry, since that
    /// may be somebody else's; a session without one gets it by a second EXPIRE.
    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let client = self.connection().client("GET")?;
        let (key, ttl) = (self.format.key(token), whole_seconds(ttl));
        let expire = |options| client.expire::<i64, Key>(key.clone(), ttl, options);
        let (value, slid) = join(
            client.get::<Option<Bytes>, Key>(key.clone()),
            expire(Some(ExpireOptions::XX)),
        )
        .await;
        let value = value.map_err(|error| RedisFault::new("GET", &error))?;
        let slid = slid.map_err(|error| RedisFault::new("EXPIRE", &error))?;
        let Some(value) = value else {
            return Ok(None);
        };
        let session = self.decode(&value)?;
        if slid == 0 {
            let restored = expire(None)
                .await
                .map_err(|error| RedisFault::new("EXPIRE", &error))?;
            if restored == 0 {
                return Ok(None);
            }
        }
        Ok(Some(session))
    }

    /// `GET key` and `PTTL key`, sent together.
    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        /// What PTTL answers for a key that does not exist.
        const GONE: i64 = -2;
        let client = self.connection().client("GET")?;
        let key = self.format.key(token);
        let (value, pttl) = join(
            client.get::<Option<Bytes>, Key>(key.clone()),
            client.pttl::<i64, Key>(key.clone()),
        )
        .await;
        let value = value.map_err(|error| RedisFault::new("GET", &error))?;
        let pttl = pttl.map_err(|error| RedisFault::new("PTTL", &error))?;
        match value {
            Some(value) if pttl != GONE => Ok(Some(PeekedSession {
                session: self.decode(&value)?,
                remaining: u64::try_from(pttl).ok().map(Duration::from_millis),
            })),
            _ => Ok(None),
        }
    }

    /// `DEL key`.
    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let client = self.connection().client("DEL")?;
        let removed: i64 = client
            .del(self.format.key(token))
            .await
            .map_err(|error| RedisFault::new("DEL", &error))?;
        Ok(removed > 0)
    }

    /// `PING`.
    async fn ping(&self) -> Result<(), RepositoryError> {
        let client = self.connection().client("PING")?;
        client
            .ping::<()>(None)
            .await
            .map_err(|error| RedisFault::new("PING", &error))?;
        Ok(())
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

/// The port hands over whole seconds; an EXPIRE of zero would delete.
fn whole_seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1)
}
