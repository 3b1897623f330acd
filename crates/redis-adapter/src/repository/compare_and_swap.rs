//! Compare-and-swap of session records: a record is changed only if it has not changed since it was
//! read.
//!
//! A [`Revision`] contains the storage format of a record and the value that was read.

use std::time::Duration;

use tee_session_domain::{Revision, Session, SessionToken, SwapOutcome, VersionedSession};

use super::commands::{self, seconds};
use crate::{
    RedisFault, StorageFormat,
    connection::{Call, Command, Script},
    error::CallError,
    record::{Key, RecordLocation},
};

/// Script reply: the stored value was still the expected one, and the script replaced or deleted
/// it.
const DONE: i64 = 1;
/// Script reply: the stored value is no longer the expected one, so the script wrote nothing.
const CHANGED: i64 = 0;
/// Script reply: the key does not exist.
const GONE: i64 = -1;

/// Replaces the value of `KEYS[1]` by `ARGV[2]`, with a TTL of `ARGV[3]` seconds, if the value is
/// still `ARGV[1]`.
const SWAP: &str = "\
local value = redis.call('GET', KEYS[1])
if not value then return -1 end
if value ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1";

/// Deletes `KEYS[1]` if the value of this key is still `ARGV[1]`.
const REMOVE_UNCHANGED: Script = Script::freeing(
    "\
local value = redis.call('GET', KEYS[1])
if not value then return -1 end
if value ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])",
);

/// A decoded [`Revision`]: the location of a record (its Redis key and codec), and the value that
/// was read there.
pub(super) struct Seen<'a> {
    pub(super) location: RecordLocation,
    pub(super) value: &'a [u8],
}

impl<'a> Seen<'a> {
    /// Decodes a revision of the session that belongs to `token`. Returns `None` if the revision
    /// has an unknown storage format. In that case, the revision was not created by a
    /// `RedisRepository`.
    pub(super) fn of(revision: &'a Revision, token: &SessionToken) -> Option<Self> {
        let (tag, value) = revision.expose_secret().split_first()?;
        let formats = [StorageFormat::Sealed, StorageFormat::Plain];
        let format = formats.into_iter().find(|format| tag_of(*format) == *tag)?;
        let location = RecordLocation::new(format, token);
        Some(Self { location, value })
    }

    /// Returns the stored value in a revision.
    pub(super) fn value_of(revision: &'a Revision) -> &'a [u8] {
        revision.expose_secret().get(1..).unwrap_or_default()
    }
}

fn tag_of(format: StorageFormat) -> u8 {
    match format {
        StorageFormat::Sealed => b's',
        StorageFormat::Plain => b'p',
    }
}

/// Loads a session and its revision (`GET key`). Returns `None` if the key does not exist.
///
/// Also sends a write, which a server that has become a replica refuses. The call then fails
/// instead of returning stale data. If `touch` is `None`, the write (`PEXPIRE key 1 GT`) changes
/// nothing. If `touch` is a TTL, the write (`EXPIRE key ttl XX`) renews the TTL of the key, as in
/// [`commands::load_and_touch`].
pub(super) async fn load_for_update(
    call: &Call,
    location: &RecordLocation,
    touch: Option<Duration>,
) -> Result<Option<VersionedSession>, CallError> {
    let key = location.key().as_bytes();
    let seconds = touch.map(seconds);
    let renewal = seconds
        .as_ref()
        .map(|seconds| [key, seconds.as_bytes(), b"XX"]);
    let no_change: [&[u8]; 3] = [key, b"1", b"GT"];
    let write = match &renewal {
        Some(arguments) => Command::new("EXPIRE", arguments),
        None => Command::new("PEXPIRE", &no_change),
    };
    let name = write.name;
    let [value, written] = call.send([Command::new("GET", &[key]), write]).await?;
    let is_written = written.integer(name)? == 1;
    let Some(value) = value.bulk("GET")? else {
        return Ok(None);
    };
    let mut revision = Vec::with_capacity(1 + value.len());
    revision.push(tag_of(location.format()));
    revision.extend_from_slice(&value);
    let revision = Revision::new(revision);
    let session = location.decode(value.into())?;
    if let Some(ttl) = touch
        && !is_written
        && !Box::pin(commands::expire(call, location.key(), ttl)).await?
    {
        return Ok(None);
    }
    Ok(Some(VersionedSession { session, revision }))
}

pub(super) async fn swap(
    call: &Call,
    seen: &Seen<'_>,
    session: &Session,
    ttl: Duration,
) -> Result<SwapOutcome, CallError> {
    let (next, ttl) = (seen.location.encode(session), seconds(ttl));
    let key = seen.location.key().as_bytes();
    let arguments = [seen.value, &next, ttl.as_bytes()];
    let reply = Script::writing(SWAP).run(call, &[key], &arguments).await?;
    Ok(outcome(reply.integer("EVAL")?)?)
}

/// Replaces the value of a key by `next`, a value of about the same length, if the value is still
/// `seen`. The replacement also works while the memory of Redis is full.
pub(crate) async fn swap_value(
    call: &Call,
    key: &Key,
    (seen, next): (&[u8], &[u8]),
    ttl: Duration,
) -> Result<SwapOutcome, CallError> {
    let ttl = seconds(ttl);
    let arguments = [seen, next, ttl.as_bytes()];
    let script = Script::freeing(SWAP);
    let reply = script.run(call, &[key.as_bytes()], &arguments).await?;
    Ok(outcome(reply.integer("EVAL")?)?)
}

/// Deletes the record if it has not changed since the revision `seen` was read. Returns
/// [`SwapOutcome::Swapped`] if this call deleted the record.
pub(super) async fn remove_unchanged(
    call: &Call,
    seen: &Seen<'_>,
) -> Result<SwapOutcome, CallError> {
    remove_value(call, seen.location.key(), seen.value).await
}

/// Deletes a key if its value is still `seen`.
pub(crate) async fn remove_value(
    call: &Call,
    key: &Key,
    seen: &[u8],
) -> Result<SwapOutcome, CallError> {
    let reply = REMOVE_UNCHANGED
        .run(call, &[key.as_bytes()], &[seen])
        .await?;
    Ok(outcome(reply.integer("EVAL")?)?)
}

fn outcome(reply: i64) -> Result<SwapOutcome, RedisFault> {
    match reply {
        DONE => Ok(SwapOutcome::Swapped),
        CHANGED => Ok(SwapOutcome::Changed),
        GONE => Ok(SwapOutcome::Gone),
        _ => Err(RedisFault::Unexpected { command: "EVAL" }),
    }
}
