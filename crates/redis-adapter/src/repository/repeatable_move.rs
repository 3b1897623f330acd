//! Moves a session's record in a cluster, for a rotation that the client may repeat with the same
//! new token.
//!
//! The old and the new record may be on different servers, so the move has two steps. The first
//! step stores the new record, and the second step deletes the old record. The reply to each step
//! can be lost. A repetition must therefore distinguish a completed move from a session that was
//! ended between the steps, for example by a logout. For that purpose, the second step also stores
//! a marker in the hash slot of the old record.

use std::time::Duration;

use tee_session_domain::{
    InsertOutcome, MoveOutcome, SessionId, SessionToken, SwapOutcome, VersionedSession,
};

use super::{
    RedisRepository,
    commands::{self, seconds},
    compare_and_swap::{self, Seen},
    rotate::Rotation,
};
use crate::{
    RedisFault,
    connection::{Call, Command, Script},
    error::CallError,
    record::{Key, RecordLocation},
};

/// Lifetime of a marker, which is longer than the time within which a client can repeat a rotation.
const MARKER_TTL: Duration = Duration::from_secs(120);

/// If the old record `KEYS[1]` still has the value `ARGV[1]`, deletes the record, stores the marker
/// `KEYS[2]` for `ARGV[3]` seconds, and returns 1. The value `ARGV[2]` of the marker is the session
/// id of the new token. If the old record has changed, returns 0.
///
/// If the old record does not exist, returns 1 if the marker already has the value `ARGV[2]`, and
/// -1 otherwise.
const REMOVE_WITH_MARKER: Script = Script::freeing(
    "\
local value = redis.call('GET', KEYS[1])
if not value then
  if redis.call('GET', KEYS[2]) == ARGV[2] then return 1 end
  return -1
end
if value ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return redis.call('DEL', KEYS[1])",
);

impl RedisRepository {
    /// Moves the record in a cluster. If a step fails or the old record has changed, the new record
    /// is kept: a delayed command of an earlier attempt may still delete the old record, and then
    /// the new record must exist. Each of the two steps ends within the command timeout.
    pub(super) async fn move_with_marker(
        &self,
        rotation: &Rotation<'_>,
    ) -> Result<MoveOutcome, CallError> {
        if self.pool.is_partition_unavailable(rotation.to.key()) {
            return Ok(MoveOutcome::PartitionUnavailable);
        }
        if !self.store_under_new_token(rotation).await? {
            return Ok(MoveOutcome::Changed);
        }
        let Rotation { seen, to_id, .. } = rotation;
        let marker = &Marker::of(&seen.location);
        let remove = |call: Call| async move { marker.set_and_remove(&call, seen, *to_id).await };
        let key = seen.location.key();
        self.pool
            .call_with_keys(key, "EVAL", self.deadline(), remove)
            .await
    }

    /// Stores the session under the new token. If an earlier attempt has already stored a record
    /// there, replaces this record and renews its TTL. Returns `false` if another attempt has
    /// changed the new record at the same time.
    async fn store_under_new_token(&self, rotation: &Rotation<'_>) -> Result<bool, CallError> {
        let Rotation {
            to, session, ttl, ..
        } = rotation;
        let insert = |call: Call| async move { commands::insert(&call, to, session, *ttl).await };
        let deadline = self.deadline();
        let inserted = self.pool.call(to.key(), "SET", deadline, insert);
        if inserted.await? == InsertOutcome::Inserted {
            return Ok(true);
        }
        let load =
            |call: Call| async move { compare_and_swap::load_for_update(&call, to, None).await };
        let stored = self.pool.call(to.key(), "GET", deadline, load);
        let Some(VersionedSession { revision, .. }) = stored.await? else {
            return Ok(false);
        };
        let next = to.encode(session);
        let values = (Seen::value_of(&revision), &*next);
        let swap = |call: Call| async move {
            compare_and_swap::swap_value(&call, to.key(), values, *ttl).await
        };
        let swapped = self.pool.call(to.key(), "EVAL", deadline, swap);
        Ok(swapped.await? == SwapOutcome::Swapped)
    }

    /// Returns `true` if a marker proves that the session was moved from `from` to `to`. If there
    /// is no such marker, the session has ended under `from`. In that case, deletes the record
    /// under `to`, and returns `false`.
    pub(super) async fn has_move_marker(
        &self,
        from: &SessionToken,
        to: &SessionToken,
    ) -> Result<bool, CallError> {
        let deadline = self.deadline();
        let to_id = SessionId::of(to).to_string();
        let (from, to) = (self.candidates(from), self.candidates(to));
        for location in from.all() {
            let marker = &Marker::of(location);
            let load = |call: Call| async move { marker.load(&call).await };
            let found = self
                .pool
                .call(location.key(), "GET", deadline, load)
                .await?;
            if found.is_some_and(|found| found == to_id.as_bytes()) {
                return Ok(true);
            }
        }
        for location in to.all() {
            self.delete(&[location], deadline).await?;
        }
        Ok(false)
    }
}

/// Marker of a complete move. The Redis key of the marker has the hash slot of the old record.
struct Marker {
    key: String,
}

impl Marker {
    fn of(old: &RecordLocation) -> Self {
        Self {
            // A cluster hashes only the part between the braces.
            key: format!("session:-moved-{{{}}}", Key::text(old.key())),
        }
    }

    async fn set_and_remove(
        &self,
        call: &Call,
        seen: &Seen<'_>,
        to: SessionId,
    ) -> Result<MoveOutcome, CallError> {
        let keys = [seen.location.key().as_bytes(), self.key.as_bytes()];
        let (to, ttl) = (to.to_string(), seconds(MARKER_TTL));
        let arguments = [seen.value, to.as_bytes(), ttl.as_bytes()];
        let reply = REMOVE_WITH_MARKER.run(call, &keys, &arguments).await?;
        match reply.integer("EVAL")? {
            1 => Ok(MoveOutcome::Moved),
            0 => Ok(MoveOutcome::Changed),
            -1 => Ok(MoveOutcome::Gone),
            _ => Err(RedisFault::Unexpected { command: "EVAL" }.into()),
        }
    }

    /// Loads the session id in the marker, and renews the TTL of the marker.
    ///
    /// The marker must outlive the idempotency record, which each repetition of the rotation also
    /// renews. In addition, the renewal is a write, so a server that has become a replica replies
    /// with an error instead of stale data.
    async fn load(&self, call: &Call) -> Result<Option<Vec<u8>>, CallError> {
        let (key, ttl) = (self.key.as_bytes(), seconds(MARKER_TTL));
        let [value, written] = call
            .send([
                Command::new("GET", &[key]),
                Command::new("EXPIRE", &[key, ttl.as_bytes()]),
            ])
            .await?;
        written.integer("EXPIRE")?;
        Ok(value.bulk("GET")?.map(Into::into))
    }
}
