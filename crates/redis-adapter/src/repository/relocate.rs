//! A session under a new token.

use std::time::Duration;

use tee_session_domain::{InsertOutcome, RelocateOutcome, Session, SwapOutcome};
use tokio::time::Instant;

use super::{
    RedisRepository,
    commands::{self, seconds},
    revision::{self, Seen},
    script::Script,
};
use crate::{RedisFault, connection::Call, error::CallError, record::Slot};

/// Stores the new record, and then deletes the old one with what may stand for it elsewhere.
const RELOCATE: Script = Script::writing(
    "\
local value = redis.call('GET', KEYS[1])
if not value then return -1 end
if value ~= ARGV[1] then return 0 end
if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'EX', ARGV[3]) then return 2 end
redis.call('DEL', KEYS[1], KEYS[3])
return 1",
);

/// A record that is to stand in place of another.
pub(super) struct Relocation<'a> {
    pub(super) seen: Seen<'a>,
    /// Where the old session might stand besides.
    pub(super) elsewhere: Option<&'a Slot>,
    pub(super) to: Slot,
    pub(super) session: &'a Session,
    pub(super) ttl: Duration,
}

impl RedisRepository {
    pub(super) async fn relocate_record(
        &self,
        relocation: &Relocation<'_>,
        deadline: Instant,
    ) -> Result<RelocateOutcome, CallError> {
        if self.pool.is_clustered() {
            return self.relocate_across(relocation, deadline).await;
        }
        let run = |call: Call| async move { in_one_step(&call, relocation).await };
        let key = relocation.to.key();
        self.pool.call(key, "EVAL", deadline, run).await
    }

    /// Between servers: the new record stands before the old one goes, and goes itself if another
    /// call changed or removed the old one first. In a cluster no session moves from one format to the
    /// other, so there is nothing to delete elsewhere.
    async fn relocate_across(
        &self,
        relocation: &Relocation<'_>,
        deadline: Instant,
    ) -> Result<RelocateOutcome, CallError> {
        let Relocation {
            seen,
            to,
            session,
            ttl,
            ..
        } = relocation;
        if self.pool.is_out_of_reach(to.key()) {
            return Ok(RelocateOutcome::OutOfReach);
        }
        let insert = |call: Call| async move { commands::insert(&call, to, session, *ttl).await };
        match self.pool.call(to.key(), "SET", deadline, insert).await? {
            InsertOutcome::Inserted => {}
            InsertOutcome::TokenTaken => return Ok(RelocateOutcome::TokenTaken),
            InsertOutcome::OutOfReach => return Ok(RelocateOutcome::OutOfReach),
        }
        let remove = |call: Call| async move { revision::remove_seen(&call, seen).await };
        let key = seen.slot.key();
        let removed = self.pool.call(key, "EVAL", deadline, remove).await;
        let outcome = match removed {
            Ok(SwapOutcome::Swapped) => return Ok(RelocateOutcome::Relocated),
            Ok(SwapOutcome::Changed) => Ok(RelocateOutcome::Changed),
            Ok(SwapOutcome::Gone) => Ok(RelocateOutcome::Gone),
            Err(error) => Err(error),
        };
        // Nobody will be told its token: if this fails, it ends by itself.
        let _ = self.delete(&[to], deadline).await;
        outcome
    }
}

async fn in_one_step(
    call: &Call,
    relocation: &Relocation<'_>,
) -> Result<RelocateOutcome, CallError> {
    let Relocation {
        seen,
        elsewhere,
        to,
        session,
        ttl,
    } = relocation;
    let from = seen.slot.key();
    let elsewhere = elsewhere.map_or(from, Slot::key);
    let keys = [from, to.key(), elsewhere].map(|key| key.as_bytes());
    let (value, ttl) = (to.encode(session), seconds(*ttl));
    let arguments = [seen.value, &value, ttl.as_bytes()];
    let reply = RELOCATE.run(call, &keys, &arguments).await?;
    match reply.integer("EVAL")? {
        1 => Ok(RelocateOutcome::Relocated),
        0 => Ok(RelocateOutcome::Changed),
        -1 => Ok(RelocateOutcome::Gone),
        2 => Ok(RelocateOutcome::TokenTaken),
        _ => Err(RedisFault::Unexpected { command: "EVAL" }.into()),
    }
}
