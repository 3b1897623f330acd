//! What is done with one record in one place.

use std::time::Duration;

use arrayvec::ArrayString;
use tee_session_domain::{InsertOutcome, PeekedSession, RepositoryError, Session};

use crate::{
    RedisFault,
    connection::Command,
    pool::Via,
    record::{Key, Slot},
};

/// What PTTL answers for a key that does not exist.
const GONE: i64 = -2;

/// `SET key value EX ttl NX`.
pub(super) async fn insert(
    via: &Via,
    slot: &Slot,
    session: &Session,
    ttl: Duration,
) -> Result<InsertOutcome, RepositoryError> {
    let (key, value, ttl) = (slot.key().as_bytes(), slot.encode(session), seconds(ttl));
    let arguments = [key, &value, b"EX", ttl.as_bytes(), b"NX"];
    let [reply] = via.ask([Command::new("SET", &arguments)]).await?;
    Ok(if reply.done("SET")? {
        InsertOutcome::Inserted
    } else {
        InsertOutcome::TokenTaken
    })
}

/// `GET key`, of a session.
pub(super) async fn read(via: &Via, slot: &Slot) -> Result<Option<Session>, RepositoryError> {
    let [reply] = via
        .ask([Command::new("GET", &[slot.key().as_bytes()])])
        .await?;
    let value = reply.bulk("GET")?;
    Ok(value.map(|value| slot.decode(value)).transpose()?)
}

/// `GET key` and `EXPIRE key ttl XX`, sent together: the answer is right as of the GET, and
/// EXPIRE cannot bring back what is gone. `XX` leaves alone what has no expiry, since that may
/// be somebody else's; a session without one gets it by a second EXPIRE.
pub(super) async fn slide(
    via: &Via,
    slot: &Slot,
    ttl: Duration,
) -> Result<Option<Session>, RepositoryError> {
    let key = slot.key().as_bytes();
    let ttl = seconds(ttl);
    let [value, slid] = via
        .ask([
            Command::new("GET", &[key]),
            Command::new("EXPIRE", &[key, ttl.as_bytes(), b"XX"]),
        ])
        .await?;
    let (value, slid) = (value.bulk("GET")?, slid.integer("EXPIRE")?);
    let Some(value) = value else {
        return Ok(None);
    };
    let session = slot.decode(value)?;
    let lives = slid > 0 || expire(via, key, &ttl).await?;
    Ok(lives.then_some(session))
}

/// `GET key` and `PTTL key`, sent together with a write that changes nothing: a server that has
/// become a replica refuses it, and its stale data is no answer. (`PEXPIRE key 1 GT` never shortens
/// a life, and leaves alone what has no expiry.)
pub(super) async fn peek(via: &Via, slot: &Slot) -> Result<Option<PeekedSession>, RepositoryError> {
    let key = slot.key().as_bytes();
    let [value, pttl, written] = via
        .ask([
            Command::new("GET", &[key]),
            Command::new("PTTL", &[key]),
            Command::new("PEXPIRE", &[key, b"1", b"GT"]),
        ])
        .await?;
    written.integer("PEXPIRE")?;
    match (value.bulk("GET")?, pttl.integer("PTTL")?) {
        (None, _) | (_, GONE) => Ok(None),
        (Some(value), pttl) => Ok(Some(PeekedSession {
            session: slot.decode(value)?,
            remaining: u64::try_from(pttl).ok().map(Duration::from_millis),
        })),
    }
}

/// `PTTL key`, with a write that changes nothing, as [`peek`] does. `None`: there is no such key; and
/// `Some(None)`: it has no expiry.
pub(super) async fn remaining(
    via: &Via,
    key: &Key,
) -> Result<Option<Option<Duration>>, RepositoryError> {
    let key = key.as_bytes();
    let [pttl, written] = via
        .ask([
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
    via: &Via,
    pointer: &Key,
    record: &Key,
    ttl: Duration,
) -> Result<(), RepositoryError> {
    let (pointer, record, ttl) = (pointer.as_bytes(), record.as_bytes(), milliseconds(ttl));
    let arguments = [pointer, record, b"PX", ttl.as_bytes()];
    let [reply] = via.ask([Command::new("SET", &arguments)]).await?;
    reply.done("SET")?;
    Ok(())
}

/// `GET pointer`, with a write that changes nothing, as [`peek`] does: the record's key that stands
/// there.
pub(super) async fn follow(via: &Via, pointer: &Key) -> Result<Option<Key>, RepositoryError> {
    let pointer = pointer.as_bytes();
    let [record, written] = via
        .ask([
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
pub(super) async fn probe(via: &Via, key: &Key) -> Result<(), RepositoryError> {
    let key = key.as_bytes();
    let [read, written] = via
        .ask([
            Command::new("GET", &[key]),
            Command::new("EXPIRE", &[key, b"1", b"XX"]),
        ])
        .await?;
    read.bulk("GET")?;
    written.integer("EXPIRE")?;
    Ok(())
}

/// `DEL key...`; `true` when there was something.
pub(super) async fn delete(via: &Via, keys: &[&[u8]]) -> Result<bool, RepositoryError> {
    let [reply] = via.ask([Command::new("DEL", keys)]).await?;
    Ok(reply.integer("DEL")? > 0)
}

/// `EXPIRE key ttl`; `false` when there is nothing.
async fn expire(via: &Via, key: &[u8], ttl: &Decimal) -> Result<bool, RedisFault> {
    let arguments = [key, ttl.as_bytes()];
    let [reply] = via.ask([Command::new("EXPIRE", &arguments)]).await?;
    Ok(reply.integer("EXPIRE")? > 0)
}

/// A number as Redis takes it.
pub(super) type Decimal = ArrayString<20>;

/// Redis refuses what its clock of milliseconds cannot hold.
const LONGEST_TTL: Duration = Duration::from_secs(i64::MAX as u64 / 2_000);

/// The port hands over whole seconds; an EXPIRE of zero would delete.
pub(super) fn seconds(ttl: Duration) -> Decimal {
    decimal(ttl.min(LONGEST_TTL).as_secs().max(1))
}

pub(super) fn milliseconds(ttl: Duration) -> Decimal {
    decimal(ttl.min(LONGEST_TTL).as_millis().max(1))
}

pub(super) fn decimal(number: impl itoa::Integer) -> Decimal {
    let mut text = Decimal::new();
    text.push_str(itoa::Buffer::new().format(number));
    text
}
