//! What is done with one record in one place.

use std::time::Duration;

use arrayvec::ArrayString;
use tee_session_domain::{InsertOutcome, PeekedSession, Session};

use crate::{
    RedisFault,
    connection::{Call, Command},
    error::CallError,
    record::{Key, Slot},
};

/// What PTTL answers for a key that does not exist.
const GONE: i64 = -2;

/// `SET key value EX ttl NX`.
pub(super) async fn insert(
    call: &Call,
    slot: &Slot,
    session: &Session,
    ttl: Duration,
) -> Result<InsertOutcome, CallError> {
    let (key, value, ttl) = (slot.key().as_bytes(), slot.encode(session), seconds(ttl));
    let arguments = [key, &value, b"EX", ttl.as_bytes(), b"NX"];
    let [reply] = call.send([Command::new("SET", &arguments)]).await?;
    Ok(if reply.done("SET")? {
        InsertOutcome::Inserted
    } else {
        InsertOutcome::TokenTaken
    })
}

/// `GET key`, of a session.
pub(super) async fn read(call: &Call, slot: &Slot) -> Result<Option<Session>, CallError> {
    let found = call.look_up(slot.key(), None).await?;
    found
        .map(|found| slot.decode(found.value.into()))
        .transpose()
}

/// `GET key` and `EXPIRE key ttl XX`, sent together: the answer is right as of the GET, and
/// EXPIRE cannot bring back what is gone. `XX` leaves alone what has no expiry, since that may
/// be somebody else's; a session without one gets it by a second EXPIRE.
pub(super) async fn slide(
    call: &Call,
    slot: &Slot,
    ttl: Duration,
) -> Result<Option<Session>, CallError> {
    let key = slot.key();
    let Some(found) = call.look_up(key, Some(whole_seconds(ttl))).await? else {
        return Ok(None);
    };
    let session = slot.decode(found.value.into())?;
    let lives = found.has_expiry || Box::pin(expire(call, key, ttl)).await?;
    Ok(lives.then_some(session))
}

/// `GET key` and `PTTL key`, sent together with a write that changes nothing: a server that has
/// become a replica refuses it, and its stale data is no answer. (`PEXPIRE key 1 GT` never shortens
/// a life, and leaves alone what has no expiry.)
pub(super) async fn peek(call: &Call, slot: &Slot) -> Result<Option<PeekedSession>, CallError> {
    let key = slot.key().as_bytes();
    let [value, pttl, written] = call
        .send([
            Command::new("GET", &[key]),
            Command::new("PTTL", &[key]),
            Command::new("PEXPIRE", &[key, b"1", b"GT"]),
        ])
        .await?;
    written.integer("PEXPIRE")?;
    match (value.bulk("GET")?, pttl.integer("PTTL")?) {
        (None, _) | (_, GONE) => Ok(None),
        (Some(value), pttl) => Ok(Some(PeekedSession {
            session: slot.decode(value.into())?,
            remaining: u64::try_from(pttl).ok().map(Duration::from_millis),
        })),
    }
}

/// `PTTL key`, with a write that changes nothing, as [`peek`] does. `None`: there is no such key; and
/// `Some(None)`: it has no expiry.
pub(super) async fn remaining(
    call: &Call,
    key: &Key,
) -> Result<Option<Option<Duration>>, CallError> {
    let key = key.as_bytes();
    let [pttl, written] = call
        .send([
            Command::new("PTTL", &[key]),
            Command::new("PEXPIRE", &[key, b"1", b"GT"]),
        ])
        .await?;
    written.integer("PEXPIRE")?;
    let pttl = pttl.integer("PTTL")?;
    Ok((pttl != GONE).then(|| u64::try_from(pttl).ok().map(Duration::from_millis)))
}

/// `SET pointer key PX ttl`.
pub(super) async fn point(
    call: &Call,
    pointer: &Key,
    record: &Key,
    ttl: Duration,
) -> Result<(), CallError> {
    let (pointer, record, ttl) = (pointer.as_bytes(), record.as_bytes(), milliseconds(ttl));
    let arguments = [pointer, record, b"PX", ttl.as_bytes()];
    let [reply] = call.send([Command::new("SET", &arguments)]).await?;
    reply.done("SET")?;
    Ok(())
}

/// `GET pointer`, with a write that changes nothing, as [`peek`] does: the record's key that stands
/// there.
pub(super) async fn follow(call: &Call, pointer: &Key) -> Result<Option<Key>, CallError> {
    let pointer = pointer.as_bytes();
    let [record, written] = call
        .send([
            Command::new("GET", &[pointer]),
            Command::new("PEXPIRE", &[pointer, b"1", b"GT"]),
        ])
        .await?;
    written.integer("PEXPIRE")?;
    let record = record.bulk("GET")?;
    Ok(record.and_then(|record| Key::of_record(str::from_utf8(&record).ok()?)))
}

/// `GET key` and `EXPIRE key 1 XX` where no session stands: what requests need, a read and a write
/// that replicas refuse.
pub(super) async fn probe(call: &Call, key: &Key) -> Result<(), CallError> {
    let key = key.as_bytes();
    let [read, written] = call
        .send([
            Command::new("GET", &[key]),
            Command::new("EXPIRE", &[key, b"1", b"XX"]),
        ])
        .await?;
    read.bulk("GET")?;
    written.integer("EXPIRE")?;
    Ok(())
}

/// `DEL key...`; `true` when there was something.
pub(super) async fn delete(call: &Call, keys: &[&[u8]]) -> Result<bool, CallError> {
    let [reply] = call.send([Command::new("DEL", keys)]).await?;
    Ok(reply.integer("DEL")? > 0)
}

/// `EXPIRE key ttl`; `false` when there is nothing.
async fn expire(call: &Call, key: &Key, ttl: Duration) -> Result<bool, RedisFault> {
    let ttl = seconds(ttl);
    let arguments = [key.as_bytes(), ttl.as_bytes()];
    let [reply] = call.send([Command::new("EXPIRE", &arguments)]).await?;
    Ok(reply.integer("EXPIRE")? > 0)
}

/// A number as Redis takes it.
pub(super) type Decimal = ArrayString<20>;

/// Redis refuses what its clock of milliseconds cannot hold.
const LONGEST_TTL: Duration = Duration::from_secs(i64::MAX as u64 / 2_000);

/// The port hands over whole seconds; an EXPIRE of zero would delete.
pub(super) fn seconds(ttl: Duration) -> Decimal {
    decimal(whole_seconds(ttl))
}

fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.min(LONGEST_TTL).as_secs().max(1);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

pub(super) fn milliseconds(ttl: Duration) -> Decimal {
    decimal(ttl.min(LONGEST_TTL).as_millis().max(1))
}

pub(super) fn decimal(number: impl itoa::Integer) -> Decimal {
    let mut text = Decimal::new();
    text.push_str(itoa::Buffer::new().format(number));
    text
}
