//! Redis commands and Lua scripts for the index of a subject. Redis runs each script atomically.
//!
//! `KEYS` of each script are the keys in [`IndexKeys`], in the order `order`, `ends`, `details`.
//! Times and the positions of index entries are formatted as whole numbers. A Lua number represents
//! whole numbers exactly up to 2^53.

use std::time::Duration;

use tee_session_domain::{IndexCursor, LastRevocation, SessionId};

use crate::{
    RedisFault,
    connection::{Call, Command, Reply, Script},
    error::CallError,
    record::{IndexDetails, IndexKeys, KEY_PREFIX, Key, MAX_KEY_LEN},
    repository::commands::{decimal, milliseconds},
};

/// Error code with which a script replies if the index contains data that this service did not
/// write. An example is a position that a Lua number cannot represent exactly.
///
/// The scripts check the data themselves, because an invalid value in a reply has two possible
/// causes: corrupt data, or a reply that was damaged on its way. After a damaged reply, the
/// connection must be closed. The only exception is the position of the last revocation that
/// [`contains`] reads with `HGET`.
pub(super) const CORRUPT: &str = "CORRUPT";

/// Adds an entry to the index, or renews an entry. `ARGV[1]` is the session id, `ARGV[2]` the
/// details, and `ARGV[3]` the lifetime of the entry in milliseconds. Returns the position of the
/// last revocation.
///
/// `ARGV[4]` is the session id of the predecessor. For a rotated session, the predecessor is the
/// session id before the rotation. For a renewed entry, the predecessor is `ARGV[1]` itself. The
/// predecessor determines the position of the entry:
///
/// - If `ARGV[4]` is empty, the position is higher than the positions of all entries and of the
///   last revocation.
/// - If the predecessor has an entry, the new entry takes over the position of that entry.
/// - If the predecessor has no entry, the position is `ARGV[5]`.
///
/// The script stores the current time in front of the details. The script also removes up to 32
/// entries that have ended, and extends the TTL of each key of the index to at least `ARGV[3]`
/// milliseconds.
const ADD: &str = "\
local function whole(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
local kept_for = tonumber(ARGV[3])
local stored = redis.call('HGET', KEYS[3], 'revoked') or '0'
local revoked = string.find(stored, '^%d+$') and tonumber(stored)
local last = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or 0)
if not (revoked and math.max(revoked, last) < 2^53) then
  return redis.error_reply('CORRUPT position')
end
local position
if ARGV[4] == '' then
  position = math.max(now, last + 1, revoked + 1)
else
  position = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[4]) or ARGV[5])
end
redis.call('ZADD', KEYS[1], whole(position), ARGV[1])
redis.call('ZADD', KEYS[2], whole(now_ms + kept_for), ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], whole(now_ms) .. ' ' .. ARGV[2])
local ended = redis.call('ZRANGE', KEYS[2], '-inf', whole(now_ms), 'BYSCORE', 'LIMIT', 0, 32)
for _, id in ipairs(ended) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < kept_for then redis.call('PEXPIRE', key, ARGV[3]) end
end
return revoked";

/// Returns the session id, the position (score in the sorted set) and the details of each entry
/// whose position is between `ARGV[1]` and `ARGV[2]`, both included. Skips the first `ARGV[3]` of
/// these entries, and returns at most `ARGV[4]` entries.
const PAGE: Script = Script::freeing(
    "\
local found = {}
local page = redis.call(
  'ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYSCORE', 'LIMIT', ARGV[3], ARGV[4], 'WITHSCORES')
for i = 1, #page, 2 do
  if string.find(page[i], '[\\128-\\255]') then return redis.error_reply('CORRUPT entry') end
  found[#found + 1] = page[i]
  found[#found + 1] = tonumber(page[i + 1])
  found[#found + 1] = redis.call('HGET', KEYS[3], page[i]) or ''
end
return found",
);

/// Removes the record of a session, which may be plain or sealed, and the pointer to the plain
/// record. Returns the number of removed records. `KEYS[1]` is the pointer, and `KEYS[2]` the key of
/// the sealed record. `ARGV[1]` is the prefix of the keys of records, and `ARGV[2]` the maximum
/// length of these keys. A pointer with another value is left alone.
///
/// The script deletes a key that it has read, so it cannot run in a cluster.
const REMOVE_WITH_POINTER: Script = Script::freeing(
    "\
local removed = 0
local plain = redis.call('GET', KEYS[1])
if plain and string.sub(plain, 1, #ARGV[1]) == ARGV[1] and #plain <= tonumber(ARGV[2]) then
  removed = redis.call('DEL', plain)
  redis.call('DEL', KEYS[1])
end
return removed + redis.call('DEL', KEYS[2])",
);

/// Marks a revocation of all sessions in the index. Returns the position of the revocation, which
/// is higher than the positions of all entries. The position is stored for the lifetime of the
/// index.
///
/// If there is no index, nothing is stored. An entry that is added after the revocation still gets
/// a higher position, because positions follow the clock of Redis.
const MARK: Script = Script::freeing(
    "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept_for = math.max(redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[3]))
if kept_for == -2 then return now end
local stored = redis.call('HGET', KEYS[3], 'revoked') or '0'
local revoked = string.find(stored, '^%d+$') and tonumber(stored)
local last = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or 0)
if not (revoked and math.max(revoked, last) < 2^53) then
  return redis.error_reply('CORRUPT position')
end
local position = math.max(now, last + 1, revoked + 1)
redis.call('HSET', KEYS[3], 'revoked', string.format('%.0f', position))
if kept_for > 0 then redis.call('PEXPIRE', KEYS[3], string.format('%.0f', kept_for)) end
return position",
);

/// Removes the entries of the session ids in `ARGV[2]`, `ARGV[3]` and so on, if their position is
/// lower than `ARGV[1]`. An entry stays if it was added again with a higher position after it was
/// read.
const REMOVE_OLDER: Script = Script::freeing(
    "\
for i = 2, #ARGV do
  local position = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if position and tonumber(position) < tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
return 1",
);

/// Removes the entries of the session ids in `ARGV[2]`, `ARGV[3]` and so on, if they were added
/// more than `ARGV[1]` milliseconds ago. A newer entry stays, because the record of its session may
/// not be stored yet.
const REMOVE_STALE: Script = Script::freeing(
    "\
local time = redis.call('TIME')
local before = time[1] * 1000 + time[2] / 1000 - ARGV[1]
for i = 2, #ARGV do
  local details = redis.call('HGET', KEYS[3], ARGV[i]) or ''
  if tonumber(string.match(details, '^%d+') or 0) < before then
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
return 1",
);

/// Minimum age at which an index entry without a record is removed.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// An entry to add to the index of a subject, or to renew in the index.
pub(super) struct NewEntry {
    pub(super) id: SessionId,
    pub(super) details: IndexDetails,
    pub(super) kept_for: Duration,
    /// Session id of the predecessor, and the position to use if the predecessor has no entry. The
    /// new entry takes over the position of the predecessor's entry. For a rotated session, the
    /// predecessor is the id before the rotation. For a renewed entry, the predecessor is `id`
    /// itself. `None` for a new session.
    pub(super) succeeds: Option<(SessionId, u64)>,
}

impl NewEntry {
    /// Returns `true` if the entry renews the existing entry of the same session.
    pub(super) fn is_renewal(&self) -> bool {
        self.succeeds.is_some_and(|(id, _)| id == self.id)
    }
}

/// An entry that was read from the index of a subject.
pub(super) struct FoundEntry {
    /// Session id of the entry, as text.
    pub(super) member: String,
    /// Position of the entry in the index, in microseconds on the clock of Redis.
    pub(super) position: u64,
    /// Details of the session; `None` if they are missing or cannot be decoded.
    pub(super) details: Option<IndexDetails>,
}

impl FoundEntry {
    /// Returns the session id of the entry. Returns `None` if the entry contains another text,
    /// because another program added the entry.
    pub(super) fn id(&self) -> Option<SessionId> {
        self.member.parse().ok()
    }

    pub(super) fn cursor(&self) -> Option<IndexCursor> {
        let position = self.position;
        self.id().map(|id| IndexCursor { position, id })
    }

    fn read(id: &Reply, position: &Reply, details: &Reply) -> Option<Self> {
        let details = details
            .as_text()
            .and_then(|details| details.split_once(' '));
        let details = details.map(|(_, details)| details);
        Some(Self {
            member: id.as_text()?.to_owned(),
            position: u64::try_from(position.as_number()?).unwrap_or(0),
            details: details.and_then(IndexDetails::decode),
        })
    }
}

/// Range of index entries from which a page is read.
pub(super) enum Range {
    /// Entries whose position is `first` or higher. The first `skip` of these entries are left out.
    From { first: u64, skip: usize },
    /// Entries whose position is lower than the position of the revocation.
    Before(LastRevocation),
}

pub(super) async fn add(
    call: &Call,
    keys: &IndexKeys,
    entry: &NewEntry,
) -> Result<LastRevocation, CallError> {
    let (id, details) = (entry.id.to_string(), entry.details.encode());
    let kept_for = milliseconds(entry.kept_for);
    let (predecessor, otherwise) = entry
        .succeeds
        .map_or_else(Default::default, |(id, position)| {
            (id.to_string(), decimal(position))
        });
    let arguments = [
        id.as_bytes(),
        &details,
        kept_for.as_bytes(),
        predecessor.as_bytes(),
        otherwise.as_bytes(),
    ];
    // While its memory is full, Redis refuses entries of new sessions, but still renews existing
    // entries.
    let script = if entry.is_renewal() {
        Script::freeing(ADD)
    } else {
        Script::writing(ADD)
    };
    position(script.run(call, &keys.all(), &arguments).await?)
}

/// Returns `true` if the index contains an unrevoked entry of the session `id`, and if `last` is
/// still the last revocation. An entry is revoked if its position is lower than the position of the
/// last revocation.
///
/// A rotated session keeps its position, so the position of its new entry can be lower than the
/// position of a revocation that was marked before the entry was added. The revocation may have
/// missed the record of the rotated session, because the record is stored after the entry. The
/// entry therefore counts as revoked.
///
/// This function sends three commands. The first command reads the entry, and the second command
/// reads the last revocation. In this order, a revocation that is marked between the two commands
/// is noticed. The third command is a write that changes nothing. A server that has become a
/// replica refuses the write, so stale data of the replica is not used.
pub(super) async fn contains(
    call: &Call,
    keys: &IndexKeys,
    id: SessionId,
    last: LastRevocation,
) -> Result<bool, CallError> {
    let (id, order) = (id.to_string(), keys.order.as_bytes());
    let [score, revoked, written] = call
        .send([
            Command::new("ZSCORE", &[order, id.as_bytes()]),
            Command::new("HGET", &[keys.details.as_bytes(), b"revoked"]),
            Command::new("PEXPIRE", &[order, b"1", b"GT"]),
        ])
        .await?;
    written.integer("PEXPIRE")?;
    let revoked = match revoked.bulk("HGET")? {
        None => LastRevocation(0),
        Some(text) => stored_position(&text)?,
    };
    let score = score.bulk("ZSCORE")?;
    // The score is parsed as a floating-point number, because Redis may format it with an exponent.
    let own: Option<f64> = score.and_then(|score| str::from_utf8(&score).ok()?.parse().ok());
    Ok(revoked == last && own.is_some_and(|own| own >= revoked.0 as f64))
}

pub(super) async fn remove(call: &Call, keys: &IndexKeys, id: SessionId) -> Result<(), CallError> {
    let id = id.to_string();
    let id = id.as_bytes();
    let [order, ends, details] = call
        .send([
            Command::new("ZREM", &[keys.order.as_bytes(), id]),
            Command::new("ZREM", &[keys.ends.as_bytes(), id]),
            Command::new("HDEL", &[keys.details.as_bytes(), id]),
        ])
        .await?;
    order.integer("ZREM")?;
    ends.integer("ZREM")?;
    details.integer("HDEL")?;
    Ok(())
}

/// Returns up to `count` entries of the index that are in `range`, ordered by position and then by
/// session id.
pub(super) async fn page(
    call: &Call,
    keys: &IndexKeys,
    range: &Range,
    count: usize,
) -> Result<Vec<FoundEntry>, CallError> {
    let (min, max, offset) = match range {
        Range::From { first, skip } => (first.to_string(), "+inf".to_owned(), *skip),
        Range::Before(LastRevocation(position)) => ("-inf".to_owned(), format!("({position}"), 0),
    };
    let (offset, count) = (decimal(offset), decimal(count));
    let arguments = [
        min.as_bytes(),
        max.as_bytes(),
        offset.as_bytes(),
        count.as_bytes(),
    ];
    let reply = PAGE.run(call, &keys.all(), &arguments).await?;
    let found = reply.list("EVAL")?;
    let entries = found.chunks_exact(3).map(|entry| match entry {
        [id, position, details] => FoundEntry::read(id, position, details),
        _ => None,
    });
    let entries: Option<Vec<_>> = entries.collect();
    entries.ok_or_else(|| RedisFault::Unexpected { command: "EVAL" }.into())
}

pub(super) async fn mark(call: &Call, keys: &IndexKeys) -> Result<LastRevocation, CallError> {
    position(MARK.run(call, &keys.all(), &[]).await?)
}

pub(super) async fn remove_older(
    call: &Call,
    keys: &IndexKeys,
    LastRevocation(position): LastRevocation,
    members: &[&str],
) -> Result<(), CallError> {
    remove_entries(
        REMOVE_OLDER,
        call,
        keys,
        (decimal(position).as_bytes(), members),
    )
    .await
}

pub(super) async fn remove_stale(
    call: &Call,
    keys: &IndexKeys,
    members: &[&str],
) -> Result<(), CallError> {
    let after = milliseconds(STALE_AFTER);
    remove_entries(REMOVE_STALE, call, keys, (after.as_bytes(), members)).await
}

/// Runs [`REMOVE_WITH_POINTER`]. Returns `true` if a record was removed.
pub(super) async fn remove_with_pointer(
    call: &Call,
    pointer: &Key,
    sealed: &Key,
) -> Result<bool, CallError> {
    let keys = [pointer.as_bytes(), sealed.as_bytes()];
    let max_len = decimal(MAX_KEY_LEN);
    let arguments = [KEY_PREFIX.as_bytes(), max_len.as_bytes()];
    let reply = REMOVE_WITH_POINTER.run(call, &keys, &arguments).await?;
    Ok(reply.integer("EVAL")? > 0)
}

async fn remove_entries(
    script: Script,
    call: &Call,
    keys: &IndexKeys,
    (limit, members): (&[u8], &[&str]),
) -> Result<(), CallError> {
    let members = members.iter().map(|member| member.as_bytes());
    let arguments: Vec<&[u8]> = std::iter::once(limit).chain(members).collect();
    let reply = script.run(call, &keys.all(), &arguments).await?;
    Ok(reply.integer("EVAL").map(drop)?)
}

/// Returns the position in the reply of a script.
fn position(reply: Reply) -> Result<LastRevocation, CallError> {
    let position = reply.integer("EVAL")?;
    Ok(LastRevocation(u64::try_from(position).unwrap_or(0)))
}

/// Parses the position that is stored as text in the index. Only digits are accepted, as in the
/// scripts. Rust's parser would also accept a sign.
fn stored_position(text: &[u8]) -> Result<LastRevocation, CallError> {
    let digits = str::from_utf8(text).ok();
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let position = digits.and_then(|digits| digits.parse().ok());
    let corrupt = || RedisFault::Refused {
        command: "HGET",
        code: CORRUPT.to_owned(),
    };
    Ok(LastRevocation(position.ok_or_else(corrupt)?))
}
