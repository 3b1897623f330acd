//! Reading plain records while a fleet moves to sealed ones.
//!
//! A session stands in one place at a time: a script moves it in one step. The plain place is
//! always read before the sealed one: whoever finds it empty because the session has just moved
//! on finds it in the other.

use std::time::Duration;

use futures_util::future::join;
use tee_session_domain::{PeekedSession, RepositoryError, Session};

use super::commands::{self, milliseconds};
use crate::{RedisFault, connection::Command, pool::Via, record::Slot};

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
    // Handed over before the next is, so that it is read first.
    let in_plain = via.ask([Command::new("GET", &[plain.key().as_bytes()])]);
    let (in_plain, slid) = join(in_plain, commands::slide(via, sealed, ttl)).await;
    if let Some(session) = slid? {
        return Ok(Some(session));
    }
    let [in_plain] = in_plain?;
    let Some(plain_value) = in_plain.bulk("GET")? else {
        return Ok(None);
    };
    let session = plain.decode(plain_value.clone())?;
    let values = (plain_value.as_slice(), sealed.encode(&session));
    move_record(via, (plain, sealed), (values.0, &values.1), ttl).await?;
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
    (plain, sealed): (&Slot, &Slot),
    (plain_value, sealed_value): (&[u8], &[u8]),
    ttl: Duration,
) -> Result<(), RedisFault> {
    let ttl = milliseconds(ttl);
    let arguments: [&[u8]; 7] = [
        MOVE.as_bytes(),
        b"2",
        plain.key().as_bytes(),
        sealed.key().as_bytes(),
        plain_value,
        sealed_value,
        ttl.as_bytes(),
    ];
    let [reply] = via.ask([Command::new("EVAL", &arguments)]).await?;
    reply.integer("EVAL").map(drop)
}
