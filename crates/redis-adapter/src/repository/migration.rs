//! Reading plain records while a fleet moves to sealed ones.
//!
//! A session stands in one place at a time: a script moves it in one step. The plain place is
//! always read before the sealed one: whoever finds it empty because the session has just moved
//! on finds it in the other.

use std::time::Duration;

use arrayvec::ArrayVec;
use futures_util::future::join;

use super::{commands::milliseconds, script::Script};
use crate::{connection::Call, error::CallError, record::Slot};

/// Moves a record from the plain key to the sealed one, with its remaining time to live, only
/// if the plain value is still the one that was read: a logout in between stays one. One without
/// an expiry gets the one that is given, if it is.
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

/// Returns what `read` finds in the sealed place. A session that is stored in the plain place is moved
/// first; `ttl` is for one without an expiry.
pub(super) async fn once_sealed<T, F>(
    call: &Call,
    (plain, sealed): (&Slot, &Slot),
    ttl: Option<Duration>,
    read: impl Fn() -> F,
) -> Result<Option<T>, CallError>
where
    F: Future<Output = Result<Option<T>, CallError>>,
{
    // Again for each change that an instance set to plain makes meanwhile, until the deadline.
    loop {
        // Polled first, so that it is sent first.
        let in_plain = call.look_up(plain.key(), None);
        let (in_plain, in_sealed) = join(in_plain, read()).await;
        if let Some(found) = in_sealed? {
            return Ok(Some(found));
        }
        match in_plain? {
            None => return Ok(None),
            Some(found) => seal(call, (plain, sealed), found.value.into(), ttl).await?,
        }
    }
}

/// Moves the record to the sealed place, unless another call changed, moved or removed it first.
async fn seal(
    call: &Call,
    (plain, sealed): (&Slot, &Slot),
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
