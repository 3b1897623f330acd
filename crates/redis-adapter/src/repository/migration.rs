//! Reading plain records while a fleet moves to sealed ones.
//!
//! A session stands in one place at a time: a script moves it in one step. The plain place is
//! always read before the sealed one: whoever finds it empty because the session has just moved
//! on finds it in the other.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use fred::{interfaces::LuaInterface, types::Value};
use futures_util::future::join;
use tee_session_domain::{PeekedSession, RepositoryError, Session};

use super::commands;
use crate::{RedisFault, pool::Via, record::Slot};

/// Moves a record from the plain key to the sealed one, with its remaining time to live, only
/// if the plain value is still the one that was read: a logout in between stays one.
const MOVE: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local ttl = redis.call('PTTL', KEYS[1])
if ttl < 1 then ttl = ARGV[3] end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ttl, 'NX')
return redis.call('DEL', KEYS[1])";

/// Slides the session wherever it stands, and seals it if it does not stand sealed yet.
pub(super) async fn slide(
    via: &Via,
    plain: &Slot,
    sealed: &Slot,
    ttl: Duration,
) -> Result<Option<Session>, RepositoryError> {
    let (plain_value, slid) = join(
        commands::get(via, plain.key()),
        commands::slide(via, sealed, ttl),
    )
    .await;
    if let Some(session) = slid? {
        return Ok(Some(session));
    }
    let Some(plain_value) = plain_value? else {
        return Ok(None);
    };
    let session = plain.decode(&plain_value)?;
    move_record(
        via,
        plain,
        plain_value,
        sealed,
        sealed.encode(&session),
        ttl,
    )
    .await?;
    // Moved by this call or by another; or gone, by a logout.
    commands::slide(via, sealed, ttl).await
}

/// Looks at the session wherever it stands, and leaves it there.
pub(super) async fn peek(
    via: &Via,
    plain: &Slot,
    sealed: &Slot,
) -> Result<Option<PeekedSession>, RepositoryError> {
    let (in_plain, in_sealed) = join(commands::peek(via, plain), commands::peek(via, sealed)).await;
    match in_sealed? {
        Some(peeked) => Ok(Some(peeked)),
        None => in_plain,
    }
}

async fn move_record(
    via: &Via,
    plain: &Slot,
    plain_value: Bytes,
    sealed: &Slot,
    sealed_value: Bytes,
    ttl: Duration,
) -> Result<(), RedisFault> {
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let keys = vec![plain.key().clone(), sealed.key().clone()];
    let arguments: Vec<Value> = vec![plain_value.into(), sealed_value.into(), ttl.into()];
    let moved = pin!(via.client.eval::<i64, _, _, _>(MOVE, keys, arguments));
    via.send("EVAL", moved).await.map(drop)
}
