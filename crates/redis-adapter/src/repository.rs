//! The repository: sessions as records in Redis.

mod commands;
mod migration;
mod places;
mod relocate;
mod revision;
mod script;
mod subject_index;
mod subject_scripts;

use std::{sync::Arc, time::Duration};

use arrayvec::ArrayVec;
use tee_session_domain::{
    InsertOutcome, PeekedSession, RelocateOutcome, RepositoryError, RevisedSession, Revision,
    Session, SessionRepository, SessionToken, StoreClock, StoreInstance, StoreKey, SwapOutcome,
};
use time::OffsetDateTime;
use tokio::{runtime::Handle, time::Instant};

use self::{places::Plain, relocate::Relocation, revision::Seen};
use crate::{
    RedisSettings, StorageFormat,
    connection::Call,
    error::CallError,
    pool::Pool,
    record::{Key, Slot},
};

/// Sessions in Redis. Clones share their connections.
///
/// A repository lives on the tokio runtime that it was made on, which also keeps the time of its
/// calls: it has to run while others use the repository. It connects in the background:
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
    pool: Pool,
    clock: Arc<StoreClock>,
    command_timeout: Duration,
    format: StorageFormat,
    accept_plain: bool,
    /// For what nobody waits for.
    runtime: Handle,
}

impl RedisRepository {
    /// A repository with one connection (to each primary of a cluster): for a runtime with one thread, such as an Actix
    /// worker's, where it spares the wake-ups between threads that a shared one costs.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect(settings: &RedisSettings) -> Self {
        Self::connect_pool(settings, 1)
    }

    /// A repository that threads share, with `size` connections, to each primary of a cluster (at
    /// least one; two to four are plenty, since commands of concurrent calls travel together).
    ///
    /// # Panics
    /// Outside a tokio runtime.
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
    /// `Unavailable` when that took longer than `within`, or the repository was closed. It goes
    /// on trying all the same.
    pub async fn wait_until_connected(&self, within: Duration) -> Result<(), RepositoryError> {
        Ok(self.pool.wait_until_connected(within).await?)
    }

    /// Returns the deadline of a call that begins now. It may take several round trips; all of them
    /// together are bounded by the time of one command.
    fn deadline(&self) -> Instant {
        Instant::now() + self.command_timeout
    }

    async fn delete(&self, slots: &[&Slot], deadline: Instant) -> Result<bool, CallError> {
        let keys: ArrayVec<&[u8], 2> = slots.iter().map(|slot| slot.key().as_bytes()).collect();
        let keys = keys.as_slice();
        let delete = |call: Call| async move { commands::delete(&call, keys).await };
        self.pool
            .call(slots[0].key(), "DEL", deadline, delete)
            .await
    }

    /// Whether the session, which is not in the state that was `seen`, was sealed by another instance
    /// meanwhile.
    async fn was_sealed(
        &self,
        seen: &Seen<'_>,
        token: &SessionToken,
        deadline: Instant,
    ) -> Result<bool, CallError> {
        match seen.slot.format() {
            StorageFormat::Sealed => Ok(false),
            StorageFormat::Plain => {
                let sealed = &Slot::new(StorageFormat::Sealed, token);
                let peek = |call: Call| async move { commands::peek(&call, sealed).await };
                let found = self.pool.call(sealed.key(), "GET", deadline, peek).await?;
                Ok(found.is_some())
            }
        }
    }
}

// What is rarely awaited is boxed, so that it does not make every call larger.
impl SessionRepository for RedisRepository {
    type Subjects = Self;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        let slot = &Slot::new(self.format, token);
        if self.pool.is_out_of_reach(slot.key()) {
            return Ok(InsertOutcome::OutOfReach);
        }
        let insert = |call: Call| async move { commands::insert(&call, slot, session, ttl).await };
        let deadline = self.deadline();
        Ok(self.pool.call(slot.key(), "SET", deadline, insert).await?)
    }

    /// One round trip, but for what stands in the other format.
    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let slide = |call: Call, slot| async move { commands::slide(&call, slot, ttl).await };
        let places = self.places(token);
        Ok(self.look_up(&places, Plain::Seal(Some(ttl)), slide).await?)
    }

    /// `GET`, and nothing else.
    async fn fetch(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        let read = |call: Call, slot| async move { commands::read(&call, slot).await };
        let places = self.places(token);
        Ok(self.look_up(&places, Plain::Leave, read).await?)
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        let peek = |call: Call, slot| async move { commands::peek(&call, slot).await };
        let places = self.places(token);
        Ok(self.look_up(&places, Plain::Leave, peek).await?)
    }

    /// Wherever the session stands, or is being moved to: in one command, but in a cluster,
    /// where no session moves.
    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let deadline = self.deadline();
        let places = self.places(token);
        let slots = &*places.all();
        if !self.pool.is_clustered() {
            return Ok(self.delete(slots, deadline).await?);
        }
        let mut was_there = false;
        for slot in slots {
            was_there |= self.delete(&[slot], deadline).await?;
        }
        Ok(was_there)
    }

    /// One round trip, but for what stands in the other format.
    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        let fetch = |call: Call, slot| async move { revision::fetch(&call, slot).await };
        let places = self.places(token);
        Ok(self.look_up(&places, Plain::Seal(None), fetch).await?)
    }

    /// One round trip: it stays in the place where it was seen.
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
        let swap = |call: Call| async move { revision::swap(&call, seen, session, ttl).await };
        let key = seen.slot.key();
        match self.pool.call(key, "EVAL", deadline, swap).await? {
            SwapOutcome::Gone if self.was_sealed(seen, token, deadline).await? => {
                Ok(SwapOutcome::Changed)
            }
            outcome => Ok(outcome),
        }
    }

    /// One round trip, but in a cluster.
    async fn relocate(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<RelocateOutcome, RepositoryError> {
        let Some(seen) = Seen::of(seen, from) else {
            return Ok(RelocateOutcome::Changed);
        };
        let places = self.places(from);
        let elsewhere = places
            .all()
            .into_iter()
            .find(|slot| slot.format() != seen.slot.format());
        // In the same format: the plain one has no room for an end that was fixed.
        let to = Slot::new(seen.slot.format(), to);
        let relocation = Relocation {
            seen,
            elsewhere,
            to,
            session,
            ttl,
        };
        let deadline = self.deadline();
        match Box::pin(self.relocate_record(&relocation, deadline)).await? {
            RelocateOutcome::Gone if self.was_sealed(&relocation.seen, from, deadline).await? => {
                Ok(RelocateOutcome::Changed)
            }
            outcome => Ok(outcome),
        }
    }

    fn subjects(&self) -> &Self {
        self
    }

    /// Asks for what requests need, a read and a write, where no session stands. A cluster serves
    /// when one of its primaries does.
    async fn ping(&self) -> Result<(), RepositoryError> {
        let probe = |call: Call, key: Key| async move { commands::probe(&call, &key).await };
        Ok(self.pool.probe("GET", self.deadline(), probe).await?)
    }

    /// The clock of Redis, as its last heartbeat told it.
    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    fn is_in_parts(&self) -> bool {
        self.pool.is_clustered()
    }

    fn instance(&self) -> Option<StoreInstance> {
        self.pool.instance()
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        let places = self.places(token);
        let keys = places.all();
        keys.iter()
            .map(|slot| StoreKey::new(slot.key().as_bytes()))
            .collect()
    }

    /// Ends within about a second, whatever Redis does.
    async fn close(&self) {
        self.pool.close().await;
    }
}
