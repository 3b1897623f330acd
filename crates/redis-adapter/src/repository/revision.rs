//! A session's states, and the next in place of the one that was seen.
//!
//! A state is where the session stands, and what stands there.

use std::time::Duration;

use tee_session_domain::{RevisedSession, Revision, Session, SessionToken, SwapOutcome};

use super::{commands::seconds, script::Script};
use crate::{
    RedisFault, StorageFormat,
    connection::{Call, Command},
    error::CallError,
    record::Slot,
};

/// Answers of scripts that look for a state.
const DONE: i64 = 1;
const CHANGED: i64 = 0;
const GONE: i64 = -1;

/// Puts a value in place of the one that was seen.
const SWAP: Script = Script::writing(
    "\
local value = redis.call('GET', KEYS[1])
if not value then return -1 end
if value ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1",
);

/// Deletes the value that was seen.
const REMOVE_SEEN: Script = Script::freeing(
    "\
local value = redis.call('GET', KEYS[1])
if not value then return -1 end
if value ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])",
);

/// A state that was seen.
pub(super) struct Seen<'a> {
    pub(super) slot: Slot,
    pub(super) value: &'a [u8],
}

impl<'a> Seen<'a> {
    /// `None` for what no session was ever in.
    pub(super) fn of(revision: &'a Revision, token: &SessionToken) -> Option<Self> {
        let (tag, value) = revision.expose_secret().split_first()?;
        let formats = [StorageFormat::Sealed, StorageFormat::Plain];
        let format = formats.into_iter().find(|format| tag_of(*format) == *tag)?;
        let slot = Slot::new(format, token);
        Some(Self { slot, value })
    }
}

fn tag_of(format: StorageFormat) -> u8 {
    match format {
        StorageFormat::Sealed => b's',
        StorageFormat::Plain => b'p',
    }
}

/// `GET key`, with a write that changes nothing, as [`commands::peek`] does.
pub(super) async fn fetch(call: &Call, slot: &Slot) -> Result<Option<RevisedSession>, CallError> {
    let key = slot.key().as_bytes();
    let [value, written] = call
        .send([
            Command::new("GET", &[key]),
            Command::new("PEXPIRE", &[key, b"1", b"GT"]),
        ])
        .await?;
    written.integer("PEXPIRE")?;
    let Some(value) = value.bulk("GET")? else {
        return Ok(None);
    };
    let mut revision = Vec::with_capacity(1 + value.len());
    revision.push(tag_of(slot.format()));
    revision.extend_from_slice(&value);
    let revision = Revision::new(revision);
    let session = slot.decode(value.into())?;
    Ok(Some(RevisedSession { session, revision }))
}

pub(super) async fn swap(
    call: &Call,
    seen: &Seen<'_>,
    session: &Session,
    ttl: Duration,
) -> Result<SwapOutcome, CallError> {
    let (next, ttl) = (seen.slot.encode(session), seconds(ttl));
    let key = seen.slot.key().as_bytes();
    let arguments = [seen.value, &next, ttl.as_bytes()];
    let reply = SWAP.run(call, &[key], &arguments).await?;
    Ok(outcome(reply.integer("EVAL")?)?)
}

/// `Swapped`: it was there, and is no more.
pub(super) async fn remove_seen(call: &Call, seen: &Seen<'_>) -> Result<SwapOutcome, CallError> {
    let key = seen.slot.key().as_bytes();
    let reply = REMOVE_SEEN.run(call, &[key], &[seen.value]).await?;
    Ok(outcome(reply.integer("EVAL")?)?)
}

fn outcome(answer: i64) -> Result<SwapOutcome, RedisFault> {
    match answer {
        DONE => Ok(SwapOutcome::Swapped),
        CHANGED => Ok(SwapOutcome::Changed),
        GONE => Ok(SwapOutcome::Gone),
        _ => Err(RedisFault::Unexpected { command: "EVAL" }),
    }
}
