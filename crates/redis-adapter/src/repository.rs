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

use self::{places::Places, relocate::Relocation, revision::Seen};
use crate::{
    RedisSettings, StorageFormat,
    pool::{Call, Via},
    record::{Key, Slot},
    servers::Servers,
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
    servers: Servers,
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
            servers: Servers::open(settings, size, &clock),
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
        self.servers.wait_until_connected(within).await
    }

    /// A call that begins now. It may take several round trips; all of them together are bounded
    /// by the time of one command.
    fn call(&self, command: &'static str) -> Call {
        Call::new(command, Instant::now() + self.command_timeout)
    }

    async fn slide(
        &self,
        slot: &Slot,
        call: Call,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let slide = |via: Via| async move { commands::slide(&via, slot, ttl).await };
        self.servers.call(slot.key(), call, slide).await
    }

    async fn read(&self, slot: &Slot, call: Call) -> Result<Option<Session>, RepositoryError> {
        let read = |via: Via| async move { commands::read(&via, slot).await };
        self.servers.call(slot.key(), call, read).await
    }

    async fn look(
        &self,
        slot: &Slot,
        call: Call,
    ) -> Result<Option<PeekedSession>, RepositoryError> {
        let peek = |via: Via| async move { commands::peek(&via, slot).await };
        self.servers.call(slot.key(), call, peek).await
    }

    async fn delete(&self, slots: &[&Slot], call: Call) -> Result<bool, RepositoryError> {
        let keys: ArrayVec<&[u8], 2> = slots.iter().map(|slot| slot.key().as_bytes()).collect();
        let keys = keys.as_slice();
        let delete = |via: Via| async move { commands::delete(&via, keys).await };
        self.servers.call(slots[0].key(), call, delete).await
    }

    async fn revise(
        &self,
        slot: &Slot,
        call: Call,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        let fetch = |via: Via| async move { revision::fetch(&via, slot).await };
        self.servers.call(slot.key(), call, fetch).await
    }

    /// Whether the session, which is not in the state that was `seen`, was sealed by another instance
    /// meanwhile.
    async fn was_sealed(
        &self,
        seen: &Seen<'_>,
        token: &SessionToken,
        call: Call,
    ) -> Result<bool, RepositoryError> {
        match seen.slot.format() {
            StorageFormat::Sealed => Ok(false),
            StorageFormat::Plain => {
                let sealed = Slot::new(StorageFormat::Sealed, token);
                Ok(self.look(&sealed, call).await?.is_some())
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
        if self.servers.is_out_of_reach(slot.key()) {
            return Ok(InsertOutcome::OutOfReach);
        }
        let call = self.call("SET");
        let insert = |via: Via| async move { commands::insert(&via, slot, session, ttl).await };
        self.servers.call(slot.key(), call, insert).await
    }

    /// One round trip, but for what stands in the other format.
    async fn fetch_and_slide(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        let call = self.call("GET");
        match &self.places(token) {
            Places::One(slot) => self.slide(slot, call, ttl).await,
            Places::PlainElseSealed { plain, sealed } => {
                match self.slide(plain, call, ttl).await? {
                    None => Box::pin(self.slide(sealed, call, ttl)).await,
                    found => Ok(found),
                }
            }
            Places::Moving { plain, sealed } => {
                let slide = |via: Via| async move {
                    Box::pin(migration::slide(&via, plain, sealed, ttl)).await
                };
                self.servers.call(plain.key(), call, slide).await
            }
        }
    }

    /// `GET`, and nothing else.
    async fn fetch(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        let call = self.call("GET");
        match &self.places(token) {
            Places::One(slot) => self.read(slot, call).await,
            Places::PlainElseSealed { plain, sealed } => match self.read(plain, call).await? {
                None => Box::pin(self.read(sealed, call)).await,
                found => Ok(found),
            },
            Places::Moving { plain, sealed } => {
                let peek =
                    |via: Via| async move { Box::pin(migration::peek(&via, plain, sealed)).await };
                let peeked = self.servers.call(plain.key(), call, peek).await?;
                Ok(peeked.map(|peeked| peeked.session))
            }
        }
    }

    async fn peek(&self, token: &SessionToken) -> Result<Option<PeekedSession>, RepositoryError> {
        let call = self.call("GET");
        match &self.places(token) {
            Places::One(slot) => self.look(slot, call).await,
            Places::PlainElseSealed { plain, sealed } => match self.look(plain, call).await? {
                None => Box::pin(self.look(sealed, call)).await,
                found => Ok(found),
            },
            Places::Moving { plain, sealed } => {
                let peek =
                    |via: Via| async move { Box::pin(migration::peek(&via, plain, sealed)).await };
                self.servers.call(plain.key(), call, peek).await
            }
        }
    }

    /// Wherever the session stands, or is being moved to: in one command, but in a cluster,
    /// where no session moves.
    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        let call = self.call("DEL");
        match &self.places(token) {
            Places::One(slot) => self.delete(&[slot], call).await,
            Places::PlainElseSealed { plain, sealed } if self.servers.is_clustered() => {
                let plain = Box::pin(self.delete(&[plain], call)).await?;
                Ok(Box::pin(self.delete(&[sealed], call)).await? || plain)
            }
            Places::PlainElseSealed { plain, sealed } | Places::Moving { plain, sealed } => {
                Box::pin(self.delete(&[plain, sealed], call)).await
            }
        }
    }

    /// One round trip, but for what stands in the other format.
    async fn fetch_revision(
        &self,
        token: &SessionToken,
    ) -> Result<Option<RevisedSession>, RepositoryError> {
        let call = self.call("GET");
        match &self.places(token) {
            Places::One(slot) => self.revise(slot, call).await,
            Places::PlainElseSealed { plain, sealed } => match self.revise(plain, call).await? {
                None => Box::pin(self.revise(sealed, call)).await,
                found => Ok(found),
            },
            Places::Moving { plain, sealed } => {
                let revise = |via: Via| async move {
                    Box::pin(migration::revise(&via, plain, sealed)).await
                };
                self.servers.call(plain.key(), call, revise).await
            }
        }
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
        let call = self.call("EVAL");
        let swap = |via: Via| async move { revision::swap(&via, seen, session, ttl).await };
        match self.servers.call(seen.slot.key(), call, swap).await? {
            SwapOutcome::Gone if self.was_sealed(seen, token, call).await? => {
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
        let elsewhere = match self.places(from) {
            Places::One(_) => None,
            Places::PlainElseSealed { plain, sealed } | Places::Moving { plain, sealed } => {
                match seen.slot.format() {
                    StorageFormat::Sealed => Some(plain),
                    StorageFormat::Plain => Some(sealed),
                }
            }
        };
        // In the same format: the plain one has no room for an end that was fixed.
        let to = Slot::new(seen.slot.format(), to);
        let relocation = Relocation {
            seen,
            elsewhere,
            to,
            session,
            ttl,
        };
        let call = self.call("EVAL");
        match Box::pin(self.relocate_record(&relocation, call)).await? {
            RelocateOutcome::Gone if self.was_sealed(&relocation.seen, from, call).await? => {
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
        let probe = |via: Via, key: Key| async move { commands::probe(&via, &key).await };
        self.servers.probe(self.call("GET"), probe).await
    }

    /// The clock of Redis, as its last heartbeat told it.
    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    fn is_in_parts(&self) -> bool {
        self.servers.is_clustered()
    }

    fn instance(&self) -> Option<StoreInstance> {
        self.servers.instance()
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        let key = |slot: &Slot| StoreKey::new(slot.key().as_bytes());
        match &self.places(token) {
            Places::One(slot) => vec![key(slot)],
            Places::PlainElseSealed { plain, sealed } | Places::Moving { plain, sealed } => {
                vec![key(plain), key(sealed)]
            }
        }
    }

    /// Ends within about a second, whatever Redis does.
    async fn close(&self) {
        self.servers.close().await;
    }
}
