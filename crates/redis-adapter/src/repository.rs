//! A session repository that stores each session as a record in Redis.

pub(crate) mod commands;
mod compare_and_swap;
mod locations;
mod migration;
mod rotate;

use std::{sync::Arc, time::Duration};

use arrayvec::ArrayVec;
use tee_session_domain::{
    InsertOutcome, MoveOutcome, RepositoryError, Revision, Session, SessionRepository,
    SessionToken, SessionWithTtl, StoreClock, StoreInstance, StoreKey, SwapOutcome,
    VersionedSession,
};
use time::OffsetDateTime;
use tokio::{runtime::Handle, time::Instant};

use self::{compare_and_swap::Seen, locations::Plain, rotate::Rotation};
use crate::{
    RedisSettings, StorageFormat,
    connection::Call,
    error::CallError,
    pool::Pool,
    record::{Key, RecordLocation},
};

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
    /// Returns [`RepositoryError::Unavailable`] if a connection is still down after `within`, or if
    /// the repository was closed. After a timeout, the repository continues to connect in the
    /// background.
    pub async fn wait_until_connected(&self, within: Duration) -> Result<(), RepositoryError> {
        Ok(self.pool.wait_until_connected(within).await?)
    }

    /// Returns the deadline of a call that begins now: the current time plus the command timeout. A
    /// call may take several round trips, but all of them together must end by this deadline.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.command_timeout
    }

    async fn delete(
        &self,
        locations: &[&RecordLocation],
        deadline: Instant,
    ) -> Result<bool, CallError> {
        let keys: ArrayVec<&[u8], 2> = locations
            .iter()
            .map(|location| location.key().as_bytes())
            .collect();
        let keys = keys.as_slice();
        let delete = |call: Call| async move { commands::delete(&call, keys).await };
        self.pool
            .call(locations[0].key(), "DEL", deadline, delete)
            .await
    }

    /// Returns `true` if the record `seen` is plain and another instance has converted it to a
    /// sealed (encrypted) record since it was read. Returns `false` if `seen` is a sealed record.
    async fn was_sealed(
        &self,
        seen: &Seen<'_>,
        token: &SessionToken,
        deadline: Instant,
    ) -> Result<bool, CallError> {
        match seen.location.format() {
            StorageFormat::Sealed => Ok(false),
            StorageFormat::Plain => {
                let sealed = &RecordLocation::new(StorageFormat::Sealed, token);
                let load = |call: Call| async move { commands::load_with_ttl(&call, sealed).await };
                let found = self.pool.call(sealed.key(), "GET", deadline, load).await?;
                Ok(found.is_some())
            }
        }
    }
}

// Futures of rare code paths are boxed, so that they do not increase the size of the future of
// every call.
impl SessionRepository for RedisRepository {
    type Subjects = Self;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        let location = &RecordLocation::new(self.format, token);
        if self.pool.is_partition_unavailable(location.key()) {
            return Ok(InsertOutcome::PartitionUnavailable);
        }
        let insert =
            |call: Call| async move { commands::insert(&call, location, session, ttl).await };
        let deadline = self.deadline();
        Ok(self
            .pool
            .call(location.key(), "SET", deadline, insert)
            .await?)
    }

    /// Loads the session and renews its TTL. This takes one round trip if the record has the
    /// storage format of this instance, and more round trips if the record has the other format.
    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let load = |call: Call, location| async move {
            commands::load_and_touch(&call, location, ttl).await
        };
        let candidates = self.candidates(token);
        Ok(self
            .look_up(&candidates, Plain::Seal(Some(ttl)), load)
            .await?)
    }

    /// Loads the session without a write command: with `GET`, or with `MGET` together with other
    /// look-ups.
    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        let load = |call: Call, location| async move { commands::load(&call, location).await };
        let candidates = self.candidates(token);
        Ok(self.look_up(&candidates, Plain::Leave, load).await?)
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        let load =
            |call: Call, location| async move { commands::load_with_ttl(&call, location).await };
        let candidates = self.candidates(token);
        Ok(self.look_up(&candidates, Plain::Leave, load).await?)
    }

    /// Deletes all Redis keys under which the record of the session may be stored.
    ///
    /// Outside a cluster, one `DEL` command deletes the keys together. The session is therefore
    /// also removed while another instance is moving its record from one of the keys to the other.
    /// In a cluster, records never move between these keys, and a separate command deletes each
    /// key.
    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let deadline = self.deadline();
        let candidates = self.candidates(token);
        let locations = &*candidates.all();
        if !self.pool.is_clustered() {
            return Ok(self.delete(locations, deadline).await?);
        }
        let mut was_removed = false;
        for location in locations {
            was_removed |= self.delete(&[location], deadline).await?;
        }
        Ok(was_removed)
    }

    /// Loads the session and its revision. This takes one round trip if the record has the storage
    /// format of this instance, and more round trips if the record has the other format.
    async fn load_for_update(
        &self,
        token: &SessionToken,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        let load = |call: Call, location| async move {
            compare_and_swap::load_for_update(&call, location).await
        };
        let candidates = self.candidates(token);
        Ok(self.look_up(&candidates, Plain::Seal(None), load).await?)
    }

    /// Replaces the record if it has not changed since the revision `seen` was read. The new record
    /// has the same Redis key and the same storage format as the former one.
    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        let Some(seen) = &Seen::of(seen, token) else {
            return Ok(SwapOutcome::Changed);
        };
        let deadline = self.deadline();
        let swap =
            |call: Call| async move { compare_and_swap::swap(&call, seen, session, ttl).await };
        let key = seen.location.key();
        match self.pool.call(key, "EVAL", deadline, swap).await? {
            SwapOutcome::Gone if self.was_sealed(seen, token, deadline).await? => {
                Ok(SwapOutcome::Changed)
            }
            outcome => Ok(outcome),
        }
    }

    /// Moves the session from the token `from` to the token `to`, if its record has not changed
    /// since the revision `seen` was read. This takes one round trip, or several in a cluster.
    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        let Some(seen) = Seen::of(seen, from) else {
            return Ok(MoveOutcome::Changed);
        };
        let candidates = self.candidates(from);
        let other_location = candidates
            .all()
            .into_iter()
            .find(|location| location.format() != seen.location.format());
        // The new record has the storage format of the old one. A plain record has no field for the
        // end of the absolute lifetime, so a conversion from sealed (encrypted) to plain would drop
        // that end.
        let to = RecordLocation::new(seen.location.format(), to);
        let rotation = Rotation {
            seen,
            other_location,
            to,
            session,
            ttl,
        };
        let deadline = self.deadline();
        match Box::pin(self.rotate_record(&rotation, deadline)).await? {
            MoveOutcome::Gone if self.was_sealed(&rotation.seen, from, deadline).await? => {
                Ok(MoveOutcome::Changed)
            }
            outcome => Ok(outcome),
        }
    }

    fn subjects(&self) -> &Self {
        self
    }

    /// Sends one read and one write (`GET` and `EXPIRE`) for a key under which no session is ever
    /// stored. In a cluster, sends them to every primary, and succeeds if at least one primary
    /// accepts both.
    async fn ping(&self) -> Result<(), RepositoryError> {
        let probe = |call: Call, key: Key| async move { commands::probe(&call, &key).await };
        Ok(self.pool.probe("GET", self.deadline(), probe).await?)
    }

    /// Returns the time on the clock of Redis, without a request to Redis. Each heartbeat corrects
    /// the difference to the clock of this machine.
    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    fn is_partitioned(&self) -> bool {
        self.pool.is_clustered()
    }

    fn instance(&self) -> Option<StoreInstance> {
        self.pool.instance()
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        let candidates = self.candidates(token);
        let keys = candidates.all();
        keys.iter()
            .map(|location| StoreKey::new(location.key().as_bytes()))
            .collect()
    }

    /// Closes all connections. Returns within about one second, even if Redis hangs.
    async fn close(&self) {
        self.pool.close().await;
    }
}
