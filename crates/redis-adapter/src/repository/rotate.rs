//! Rotation: moves a session's record to the key of a new token.

use std::time::Duration;

use tee_session_domain::{InsertOutcome, MoveOutcome, Session, SessionId, SwapOutcome};

use super::{
    RedisRepository,
    commands::{self, seconds},
    compare_and_swap::{self, Seen},
};
use crate::{
    RedisFault,
    connection::{Call, Script},
    error::CallError,
    record::RecordLocation,
};

/// Moves a record to the key of a new token.
///
/// - `KEYS[1]`: the key of the old record. Its value must still be `ARGV[1]`.
/// - `KEYS[2]`: the new key. It must not exist. The script stores `ARGV[2]` under this key, with a
///   TTL of `ARGV[3]` seconds.
/// - `KEYS[3]`: the key under which the old record would be stored in the other format. The script
///   deletes this key and `KEYS[1]`.
///
/// If one of the two conditions is not met, the script changes nothing.
const ROTATE: Script = Script::writing(
    "\
local value = redis.call('GET', KEYS[1])
if not value then return -1 end
if value ~= ARGV[1] then return 0 end
if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'EX', ARGV[3]) then return 2 end
redis.call('DEL', KEYS[1], KEYS[3])
return 1",
);

/// Input of a rotation: the old record, and the session to store under the key of the new token.
pub(super) struct Rotation<'a> {
    pub(super) seen: Seen<'a>,
    /// Second location (Redis key) where the old record may be stored. `seen` has the location for
    /// one storage format, and this is the location for the other format. `None` if this instance
    /// uses only one format.
    pub(super) other_location: Option<&'a RecordLocation>,
    pub(super) to: RecordLocation,
    /// Session id of the new token, under which the rotation stores the session.
    pub(super) to_id: SessionId,
    pub(super) session: &'a Session,
    pub(super) ttl: Duration,
}

impl RedisRepository {
    /// Moves the record in one atomic step, outside a cluster.
    pub(super) async fn rotate_on_one_server(
        &self,
        rotation: &Rotation<'_>,
    ) -> Result<MoveOutcome, CallError> {
        let run = |call: Call| async move { in_one_step(&call, rotation).await };
        let key = rotation.to.key();
        self.pool.call(key, "EVAL", self.deadline(), run).await
    }

    /// Moves the record in a cluster, where the old and the new key may be on different servers.
    /// Stores the new record first, and then deletes the old record if it has not changed since it
    /// was read. If another call has changed or removed the old record, or if the deletion fails,
    /// deletes the new record. Each step has the whole command timeout.
    ///
    /// Deletes the old record under one key only, because a cluster does not convert records
    /// between the storage formats. Outside a cluster, a conversion may have moved the old record
    /// to another key.
    pub(super) async fn rotate_across_servers(
        &self,
        rotation: &Rotation<'_>,
    ) -> Result<MoveOutcome, CallError> {
        let Rotation {
            seen,
            to,
            session,
            ttl,
            ..
        } = rotation;
        if self.pool.is_partition_unavailable(to.key()) {
            return Ok(MoveOutcome::PartitionUnavailable);
        }
        let insert = |call: Call| async move { commands::insert(&call, to, session, *ttl).await };
        let inserted = self.pool.call(to.key(), "SET", self.deadline(), insert);
        match inserted.await? {
            InsertOutcome::Inserted => {}
            InsertOutcome::TokenTaken => return Ok(MoveOutcome::TokenTaken),
            InsertOutcome::PartitionUnavailable => return Ok(MoveOutcome::PartitionUnavailable),
        }
        let remove =
            |call: Call| async move { compare_and_swap::remove_unchanged(&call, seen).await };
        let key = seen.location.key();
        // Each step has its own deadline. With one deadline for both steps, a slow first step could
        // leave so little time that the second step is carried out, but its reply arrives too late.
        // The new record would then be deleted as well, and the session would be lost.
        let removed = self.pool.call(key, "EVAL", self.deadline(), remove);
        let outcome = match removed.await {
            Ok(SwapOutcome::Swapped) => return Ok(MoveOutcome::Moved),
            Ok(SwapOutcome::Changed) => Ok(MoveOutcome::Changed),
            Ok(SwapOutcome::Gone) => Ok(MoveOutcome::Gone),
            Err(error) => Err(error),
        };
        // No client has received the new token. If this deletion fails, the new record expires with
        // its TTL.
        let _ = self.delete(&[to], self.deadline()).await;
        outcome
    }
}

async fn in_one_step(call: &Call, rotation: &Rotation<'_>) -> Result<MoveOutcome, CallError> {
    let Rotation {
        seen,
        other_location,
        to,
        session,
        ttl,
        ..
    } = rotation;
    let from = seen.location.key();
    let other_location = other_location.map_or(from, RecordLocation::key);
    let keys = [from, to.key(), other_location].map(|key| key.as_bytes());
    let (value, ttl) = (to.encode(session), seconds(*ttl));
    let arguments = [seen.value, &value, ttl.as_bytes()];
    let reply = ROTATE.run(call, &keys, &arguments).await?;
    match reply.integer("EVAL")? {
        1 => Ok(MoveOutcome::Moved),
        0 => Ok(MoveOutcome::Changed),
        -1 => Ok(MoveOutcome::Gone),
        2 => Ok(MoveOutcome::TokenTaken),
        _ => Err(RedisFault::Unexpected { command: "EVAL" }.into()),
    }
}
