//! Reading plain records while a fleet moves to sealed ones.
//!
//! A session stands in one place at a time: a script moves it in one step. The plain place is
//! always read before the sealed one: whoever finds it empty because the session has just moved
//! on finds it in the other.

use std::time::Duration;

use arrayvec::ArrayVec;
use futures_util::future::join;
use tee_session_domain::{PeekedSession, RepositoryError, RevisedSession, Session};

use super::{
    commands::{self, milliseconds},
    revision,
    script::Script,
};
use crate::{connection::Command, pool::Via, record::Slot};

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

/// Slides the session wherever it stands, and seals it if it does not stand sealed yet.
pub(super) async fn slide(
    via: &Via,
    plain: &Slot,
    sealed: &Slot,
    ttl: Duration,
) -> Result<Option<Session>, RepositoryError> {
    let slide = || commands::slide(via, sealed, ttl);
    once_sealed(via, (plain, sealed), Some(ttl), slide).await
}

/// Reads the session in the state that it is in, once it is sealed.
pub(super) async fn revise(
    via: &Via,
    plain: &Slot,
    sealed: &Slot,
) -> Result<Option<RevisedSession>, RepositoryError> {
    let fetch = || revision::fetch(via, sealed);
    once_sealed(via, (plain, sealed), None, fetch).await
}

/// What `read` finds in the sealed place, where the session is moved to if it stands in the plain one;
/// `ttl` is for one without an expiry.
async fn once_sealed<T, F>(
    via: &Via,
    (plain, sealed): (&Slot, &Slot),
    ttl: Option<Duration>,
    read: impl Fn() -> F,
) -> Result<Option<T>, RepositoryError>
where
    F: Future<Output = Result<Option<T>, RepositoryError>>,
{
    // Anew for each change that an instance set to plain makes meanwhile, until the call's time is
    // over.
    loop {
        // Handed over before the next is, so that it is read first.
        let in_plain = via.ask([Command::new("GET", &[plain.key().as_bytes()])]);
        let (in_plain, in_sealed) = join(in_plain, read()).await;
        if let Some(found) = in_sealed? {
            return Ok(Some(found));
        }
        let [in_plain] = in_plain?;
        match in_plain.bulk("GET")? {
            None => return Ok(None),
            Some(value) => seal(via, (plain, sealed), value, ttl).await?,
        }
    }
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

/// Moves the record to the sealed place, unless another call changed, moved or removed it first.
async fn seal(
    via: &Via,
    (plain, sealed): (&Slot, &Slot),
    plain_value: Vec<u8>,
    ttl: Option<Duration>,
) -> Result<(), RepositoryError> {
    let session = plain.decode(plain_value.clone())?;
    let sealed_value = sealed.encode(&session);
    let ttl = ttl.map(milliseconds);
    let keys = [plain.key().as_bytes(), sealed.key().as_bytes()];
    let mut arguments: ArrayVec<&[u8], 3> = [&plain_value, sealed_value.as_slice()]
        .into_iter()
        .collect();
    arguments.extend(ttl.as_ref().map(|ttl| ttl.as_bytes()));
    let reply = MOVE.run(via, &keys, &arguments).await?;
    Ok(reply.integer("EVAL").map(drop)?)
}
