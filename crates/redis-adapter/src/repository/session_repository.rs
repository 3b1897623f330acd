//! The port [`SessionRepository`] of the domain, implemented with Redis commands.

use std::time::Duration;

use tee_session_domain::{
    InsertOutcome, MoveOutcome, RepositoryError, Revision, Session, SessionId, SessionRepository,
    SessionToken, SessionWithTtl, StoreInstance, StoreKey, SwapOutcome, VersionedSession,
};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    RedisRepository, commands,
    compare_and_swap::{self, Seen},
    locations::Plain,
    rotate::Rotation,
};
use crate::{
    StorageFormat,
    connection::Call,
    error::CallError,
    record::{Key, RecordLocation},
};

/// Handling of a failed move of a record in a cluster, where the old and the new key may be on
/// different servers.
#[derive(Clone, Copy)]
enum Repeat {
    /// The move is attempted once. If it fails, the new record is deleted.
    Never,
    /// The move may be repeated with the same new token. If it fails, the new record is kept. A
    /// complete move stores a marker as its proof.
    WithMarker,
}

// Futures of rare code paths are boxed, so that they do not increase the size of the future of
// every call.
impl SessionRepository for RedisRepository {
    type Subjects = Self;
    type Idempotency = Self;

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
    /// storage format that this instance writes, and more round trips if the record has the other
    /// format.
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
    /// format that this instance writes, and more round trips if the record has the other format.
    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        let load = |call: Call, location| async move {
            compare_and_swap::load_for_update(&call, location, touch).await
        };
        let candidates = self.candidates(token);
        Ok(self.look_up(&candidates, Plain::Seal(touch), load).await?)
    }

    /// Replaces the record if it has not changed since the revision `seen` was read. The Redis key
    /// and the storage format of the record do not change.
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
    /// since the revision `seen` was read. This takes one round trip, or two in a cluster. Each of
    /// them has the whole command timeout. Further round trips follow only if the session was not
    /// moved.
    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        self.move_record((from, seen), to, session, ttl, Repeat::Never)
            .await
    }

    /// Moves the session like `move_to_new_token`, with two differences in a cluster. A complete
    /// move stores a marker as its proof. A failed move does not delete the record under `to`, so
    /// that the call can be repeated.
    async fn move_repeatably(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        self.move_record((from, seen), to, session, ttl, Repeat::WithMarker)
            .await
    }

    /// Outside a cluster, returns `true`. A session is moved in one atomic step there, so a record
    /// under `to` proves the move.
    ///
    /// In a cluster, returns `true` if the marker of a complete move exists. Otherwise deletes the
    /// record under `to`, and returns `false`.
    async fn was_moved(
        &self,
        from: &SessionToken,
        to: &SessionToken,
    ) -> Result<bool, RepositoryError> {
        if !self.pool.is_clustered() {
            return Ok(true);
        }
        Ok(Box::pin(self.has_move_marker(from, to)).await?)
    }

    fn subjects(&self) -> &Self {
        self
    }

    fn idempotency(&self) -> &Self {
        self
    }

    /// Sends one read and one write (`GET` and `EXPIRE`) for a key under which no session is ever
    /// stored. In a cluster, sends both commands to every primary, and succeeds if at least one
    /// primary accepts both commands.
    async fn ping(&self) -> Result<(), RepositoryError> {
        let probe = |call: Call, key: Key| async move { commands::probe(&call, &key).await };
        Ok(self.pool.probe("GET", self.deadline(), probe).await?)
    }

    /// Checks that Redis permits scripts, which updates and rotations need. The permissions for
    /// reads and writes are checked by [`ping`](Self::ping). The permissions for subjects are not
    /// checked, because not every service has sessions with a subject.
    async fn check_permissions(&self) -> Result<(), RepositoryError> {
        let check =
            |call: Call, key: Key| async move { commands::check_permissions(&call, &key).await };
        Ok(self.pool.probe("EVAL", self.deadline(), check).await?)
    }

    /// Returns the time on the clock of Redis, without a request to Redis. The time is calculated
    /// from the clock of this machine and its difference to the clock of Redis. Each heartbeat
    /// corrects this difference.
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

impl RedisRepository {
    async fn move_record(
        &self,
        (from, seen): (&SessionToken, &Revision),
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
        repeat: Repeat,
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
        let rotation = Rotation {
            to: RecordLocation::new(seen.location.format(), to),
            to_id: SessionId::of(to),
            seen,
            other_location,
            session,
            ttl,
        };
        let moved = match (self.pool.is_clustered(), repeat) {
            (false, _) => Box::pin(self.rotate_on_one_server(&rotation)).await?,
            (true, Repeat::Never) => Box::pin(self.rotate_across_servers(&rotation)).await?,
            (true, Repeat::WithMarker) => Box::pin(self.move_with_marker(&rotation)).await?,
        };
        match moved {
            MoveOutcome::Gone
                if self
                    .was_sealed(&rotation.seen, from, self.deadline())
                    .await? =>
            {
                Ok(MoveOutcome::Changed)
            }
            outcome => Ok(outcome),
        }
    }

    /// Returns `true` if another instance has converted the plain record `seen` to a sealed
    /// (encrypted) record since the plain record was read. Returns `false` if `seen` is already a
    /// sealed record.
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
                let found = self.pool.call(sealed.key(), "GET", deadline, load);
                Ok(found.await?.is_some())
            }
        }
    }
}
