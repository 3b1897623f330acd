//! Redis commands for one record under one Redis key.

use std::time::Duration;

use arrayvec::ArrayString;
use tee_session_domain::{InsertOutcome, Session, SessionWithTtl};

use crate::{
    RedisFault,
    connection::{Call, Command},
    error::CallError,
    record::{Key, RecordLocation},
};

/// Reply of PTTL for a key that does not exist.
const GONE: i64 = -2;

/// Stores a new record (`SET key value EX ttl NX`). Returns [`InsertOutcome::TokenTaken`] if the
/// key already exists.
pub(crate) async fn insert(
    call: &Call,
    location: &RecordLocation,
    session: &Session,
    ttl: Duration,
) -> Result<InsertOutcome, CallError> {
    let (key, value, ttl) = (
        location.key().as_bytes(),
        location.encode(session),
        seconds(ttl),
    );
    let arguments = [key, &value, b"EX", ttl.as_bytes(), b"NX"];
    let [reply] = call.send([Command::new("SET", &arguments)]).await?;
    Ok(if reply.done("SET")? {
        InsertOutcome::Inserted
    } else {
        InsertOutcome::TokenTaken
    })
}

/// Loads a session (`GET key`). Returns `None` if the key does not exist.
pub(crate) async fn load(
    call: &Call,
    location: &RecordLocation,
) -> Result<Option<Session>, CallError> {
    let found = call.look_up(location.key(), None).await?;
    found
        .map(|found| location.decode(found.value.into()))
        .transpose()
}

/// Loads a session and renews its TTL (`GET key` and `EXPIRE key ttl XX`, sent together). Returns
/// `None` if the key does not exist. `EXPIRE` never creates a key, so this function cannot restore
/// a session that another call is deleting.
///
/// With `XX`, `EXPIRE` leaves a key without an expiry unchanged, because such a key may belong to
/// another program. If the value of the key is a session, a second `EXPIRE` without `XX` gives the
/// key an expiry.
pub(crate) async fn load_and_touch(
    call: &Call,
    location: &RecordLocation,
    ttl: Duration,
) -> Result<Option<Session>, CallError> {
    let key = location.key();
    let Some(found) = call.look_up(key, Some(whole_seconds(ttl))).await? else {
        return Ok(None);
    };
    let session = location.decode(found.value.into())?;
    let is_alive = found.has_expiry || Box::pin(expire(call, key, ttl)).await?;
    Ok(is_alive.then_some(session))
}

/// Loads a session and its remaining TTL (`GET key` and `PTTL key`), without renewing the TTL.
/// Returns `None` if the key does not exist.
///
/// The function also sends a write that changes nothing: `PEXPIRE key 1 GT` neither shortens a TTL
/// nor gives a key an expiry. If the server has become a replica, it refuses the write. The call
/// then fails instead of returning outdated data.
pub(crate) async fn load_with_ttl(
    call: &Call,
    location: &RecordLocation,
) -> Result<Option<SessionWithTtl>, CallError> {
    let key = location.key().as_bytes();
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
        (Some(value), pttl) => Ok(Some(SessionWithTtl {
            session: location.decode(value.into())?,
            remaining: u64::try_from(pttl).ok().map(Duration::from_millis),
        })),
    }
}

/// Loads the remaining TTL of a key (`PTTL key`). Returns `None` if the key does not exist, and
/// `Some(None)` if the key has no expiry.
///
/// The function also sends a write that changes nothing: `PEXPIRE key 1 GT` neither shortens a TTL
/// nor gives a key an expiry. If the server has become a replica, it refuses the write. The call
/// then fails instead of returning outdated data.
pub(crate) async fn remaining(
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

/// Sets the value of the Redis key `pointer` to `record`, the Redis key of a record (`SET pointer
/// record PX ttl`).
pub(crate) async fn set_pointer(
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

/// Loads the value of the key `pointer` (`GET pointer`). The value is the Redis key of a record.
/// Returns `None` if `pointer` does not exist, or if the value is not the key of a record.
///
/// The function also sends a write that changes nothing (`PEXPIRE pointer 1 GT`). If the server has
/// become a replica, it refuses the write. The call then fails instead of returning outdated data.
pub(crate) async fn load_pointer(call: &Call, pointer: &Key) -> Result<Option<Key>, CallError> {
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

/// Checks that Redis accepts reads and writes by sending `GET key` and `EXPIRE key 1 XX`. A replica
/// refuses the `EXPIRE`. No session may be stored under `key`.
pub(crate) async fn probe(call: &Call, key: &Key) -> Result<(), CallError> {
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

/// A script that reads and writes nothing. Redis runs it also while its memory is full.
const PERMISSION_SCRIPT: &[u8] = b"#!lua flags=allow-oom\nreturn 0";

/// Checks that Redis permits scripts. No session may be stored under `key`.
pub(crate) async fn check_permissions(call: &Call, key: &Key) -> Result<(), CallError> {
    let arguments: [&[u8]; 3] = [PERMISSION_SCRIPT, b"1", key.as_bytes()];
    let [reply] = call.send([Command::new("EVAL", &arguments)]).await?;
    reply.any("EVAL")?;
    Ok(())
}

/// Deletes keys (`DEL key...`). Returns `true` if at least one key existed.
pub(crate) async fn delete(call: &Call, keys: &[&[u8]]) -> Result<bool, CallError> {
    let [reply] = call.send([Command::new("DEL", keys)]).await?;
    Ok(reply.integer("DEL")? > 0)
}

/// Sets the TTL of a key (`EXPIRE key ttl`). Returns `false` if the key does not exist.
pub(super) async fn expire(call: &Call, key: &Key, ttl: Duration) -> Result<bool, RedisFault> {
    let ttl = seconds(ttl);
    let arguments = [key.as_bytes(), ttl.as_bytes()];
    let [reply] = call.send([Command::new("EXPIRE", &arguments)]).await?;
    Ok(reply.integer("EXPIRE")? > 0)
}

/// A number in decimal digits, for use as an argument of a Redis command.
pub(crate) type Decimal = ArrayString<20>;

/// Maximum TTL that is sent to Redis. Redis refuses a TTL if the time of expiry, in milliseconds
/// since the epoch, does not fit in a signed 64-bit number.
const LONGEST_TTL: Duration = Duration::from_secs(i64::MAX as u64 / 2_000);

/// Formats a TTL in whole seconds, but at least one second, because `EXPIRE` with zero would delete
/// the key.
pub(crate) fn seconds(ttl: Duration) -> Decimal {
    decimal(whole_seconds(ttl))
}

fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.min(LONGEST_TTL).as_secs().max(1);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

pub(crate) fn milliseconds(ttl: Duration) -> Decimal {
    decimal(ttl.min(LONGEST_TTL).as_millis().max(1))
}

pub(crate) fn decimal(number: impl itoa::Integer) -> Decimal {
    let mut text = Decimal::new();
    text.push_str(itoa::Buffer::new().format(number));
    text
}
