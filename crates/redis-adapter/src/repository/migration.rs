//! Look-ups while a fleet of instances migrates from plain to sealed (encrypted) records.
//!
//! A session has either a plain or a sealed record, never both. A script atomically moves the
//! record from the key of the plain record to the key of the sealed record. Each look-up reads the
//! plain key before the sealed key. If another instance moves the record between these two reads,
//! the look-up finds the sealed record.

use std::time::Duration;

use arrayvec::ArrayVec;
use futures_util::future::join;

use super::commands::milliseconds;
use crate::{
    connection::{Call, Script},
    error::CallError,
    record::RecordLocation,
};

/// Replaces the plain record under `KEYS[1]` by the sealed (encrypted) record `ARGV[2]` under
/// `KEYS[2]`, if the plain record is still `ARGV[1]`. If the plain record was removed or changed
/// since it was read, nothing happens.
///
/// The sealed record gets the remaining TTL of the plain record. If the plain record has no expiry,
/// the sealed record gets the TTL `ARGV[3]` (milliseconds), or no expiry if there is no third
/// argument.
const MOVE: Script = Script::writing(
    "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local ttl = redis.call('PTTL', KEYS[1])
if ttl < 0 then ttl = tonumber(ARGV[3]) end
if ttl then
  ttl = string.format('%.0f', math.max(ttl, 1))
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ttl, 'NX')
else
  redis.call('SET', KEYS[2], ARGV[2], 'NX')
end
return redis.call('DEL', KEYS[1])",
);

/// Loads a session by calling `load`, which reads the sealed (encrypted) record. If the session
/// still has a plain record, converts the plain record to a sealed one, and then calls `load`
/// again. `ttl` is the TTL for a plain record without an expiry.
///
/// Returns `None` if the session has neither a plain nor a sealed record.
pub(super) async fn once_sealed<T, F>(
    call: &Call,
    (plain, sealed): (&RecordLocation, &RecordLocation),
    ttl: Option<Duration>,
    load: impl Fn() -> F,
) -> Result<Option<T>, CallError>
where
    F: Future<Output = Result<Option<T>, CallError>>,
{
    // If an instance that writes plain records changes the plain record before it is converted, the
    // loop reads the record again. The loop ends at the deadline of `call` at the latest.
    loop {
        // `join` polls this future before `load()`, so the plain key is read before the sealed key.
        let in_plain = call.look_up(plain.key(), None);
        let (in_plain, in_sealed) = join(in_plain, load()).await;
        if let Some(found) = in_sealed? {
            return Ok(Some(found));
        }
        match in_plain? {
            None => return Ok(None),
            Some(found) => seal(call, (plain, sealed), found.value.into(), ttl).await?,
        }
    }
}

/// Converts the plain record to a sealed (encrypted) record. Does nothing if another call has
/// changed, moved or removed the plain record since `plain_value` was read.
async fn seal(
    call: &Call,
    (plain, sealed): (&RecordLocation, &RecordLocation),
    plain_value: Vec<u8>,
    ttl: Option<Duration>,
) -> Result<(), CallError> {
    let session = plain.decode(plain_value.clone())?;
    let sealed_value = sealed.encode(&session);
    let ttl = ttl.map(milliseconds);
    let keys = [plain.key().as_bytes(), sealed.key().as_bytes()];
    let mut arguments: ArrayVec<&[u8], 3> = [&plain_value, sealed_value.as_slice()]
        .into_iter()
        .collect();
    arguments.extend(ttl.as_ref().map(|ttl| ttl.as_bytes()));
    let reply = MOVE.run(call, &keys, &arguments).await?;
    Ok(reply.integer("EVAL").map(drop)?)
}
