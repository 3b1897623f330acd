//! What is done with a subject's index, in one step each.
//!
//! The keys of a script are those of [`IndexKeys`], in that order. Places and times are written out as
//! whole numbers, which a number of Lua's holds up to 2^53.

use std::time::Duration;

use tee_session_domain::{IndexCursor, LastRevocation, SessionId};

use super::{
    commands::{decimal, milliseconds},
    script::Script,
};
use crate::{
    RedisFault,
    connection::{Call, Command, Reply},
    error::CallError,
    record::{IndexDetails, IndexKeys},
};

/// Enters `ARGV[1]` with the details `ARGV[2]` for `ARGV[3]` milliseconds: in the place of `ARGV[4]`
/// or, if that has none, in `ARGV[5]`; behind all if it succeeds nobody. Before the details stands
/// when that was. What has ended is taken out on the way. Each key lives as long as any entry.
const ENTER: &str = "\
local function whole(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
local kept_for = tonumber(ARGV[3])
local revoked = tonumber(redis.call('HGET', KEYS[3], 'revoked') or 0)
local place
if ARGV[4] == '' then
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or 0
  place = math.max(now, last + 1, revoked + 1)
else
  place = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[4]) or ARGV[5])
end
redis.call('ZADD', KEYS[1], whole(place), ARGV[1])
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

/// Entries from the place `ARGV[1]` to `ARGV[2]`, `ARGV[4]` of them, the first `ARGV[3]` left out:
/// the id, the place and the details of each.
const PAGE: Script = Script::freeing(
    "\
local found = {}
local page = redis.call(
  'ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYSCORE', 'LIMIT', ARGV[3], ARGV[4], 'WITHSCORES')
for i = 1, #page, 2 do
  found[#found + 1] = page[i]
  found[#found + 1] = tonumber(page[i + 1])
  found[#found + 1] = redis.call('HGET', KEYS[3], page[i]) or ''
end
return found",
);

/// The place of a revocation that is being made: behind all. It is kept as long as the index; if there
/// is none, then places are behind it because they follow the clock.
const MARK: Script = Script::freeing(
    "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept_for = math.max(redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[3]))
if kept_for == -2 then return now end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or 0
local revoked = tonumber(redis.call('HGET', KEYS[3], 'revoked') or 0)
local place = math.max(now, last + 1, revoked + 1)
redis.call('HSET', KEYS[3], 'revoked', string.format('%.0f', place))
if kept_for > 0 then redis.call('PEXPIRE', KEYS[3], string.format('%.0f', kept_for)) end
return place",
);

/// Takes those entries out whose place is lower than `ARGV[1]`: one that was entered anew stays.
const TAKE_OUT_OLDER: Script = Script::freeing(
    "\
for i = 2, #ARGV do
  local place = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if place and tonumber(place) < tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
  end
end
return 1",
);

/// Takes those entries out that were entered more than `ARGV[1]` milliseconds ago: what was entered
/// later may be about to get its record.
const TAKE_OUT_STALE: Script = Script::freeing(
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

/// An entry without a record is left alone for so long.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// What is to be entered.
pub(super) struct NewEntry {
    pub(super) id: SessionId,
    pub(super) details: IndexDetails,
    pub(super) kept_for: Duration,
    /// The session whose place it takes, and its place if that one has none.
    pub(super) succeeds: Option<(SessionId, u64)>,
}

impl NewEntry {
    /// It takes its own place.
    pub(super) fn is_renewal(&self) -> bool {
        self.succeeds.is_some_and(|(id, _)| id == self.id)
    }
}

/// An entry as it stands.
pub(super) struct FoundEntry {
    /// The text of its id.
    pub(super) member: String,
    pub(super) place: u64,
    /// `None`: they were lost.
    pub(super) details: Option<IndexDetails>,
}

impl FoundEntry {
    /// `None`: somebody else put it there.
    pub(super) fn id(&self) -> Option<SessionId> {
        self.member.parse().ok()
    }

    pub(super) fn cursor(&self) -> Option<IndexCursor> {
        let place = self.place;
        self.id().map(|id| IndexCursor { place, id })
    }

    fn read(id: &Reply, place: &Reply, details: &Reply) -> Option<Self> {
        let details = details.as_text()?;
        let details = details.split_once(' ').map(|(_, details)| details);
        Some(Self {
            member: id.as_text()?.to_owned(),
            place: u64::try_from(place.as_number()?).unwrap_or(0),
            details: details.and_then(IndexDetails::decode),
        })
    }
}

/// Which entries are read.
pub(super) enum Range {
    /// From this place on, but for the first so many.
    From(u64, usize),
    Before(LastRevocation),
}

pub(super) async fn enter(
    call: &Call,
    keys: &IndexKeys,
    entry: &NewEntry,
) -> Result<LastRevocation, CallError> {
    let (id, details) = (entry.id.to_string(), entry.details.encode());
    let kept_for = milliseconds(entry.kept_for);
    let (predecessor, otherwise) = entry.succeeds.map_or_else(Default::default, |(id, place)| {
        (id.to_string(), decimal(place))
    });
    let arguments = [
        id.as_bytes(),
        &details,
        kept_for.as_bytes(),
        predecessor.as_bytes(),
        otherwise.as_bytes(),
    ];
    // A Redis without room takes no new sessions, and still slides those that there are.
    let enter = if entry.is_renewal() {
        Script::freeing(ENTER)
    } else {
        Script::writing(ENTER)
    };
    place(&enter.run(call, &keys.all(), &arguments).await?)
}

/// Three commands, the last of which changes nothing and is refused by a replica. The entry is looked
/// at before the revocation: whoever takes it out has marked that first.
///
/// An entry whose place is lower than that of the revocation, as one that took an older one's place
/// has, does not stand though it is there: it may be about to be taken out, after its record was found
/// missing.
pub(super) async fn stands(
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
    let revoked = match revoked.any("HGET")? {
        Reply::Null => LastRevocation(0),
        revoked => place(&revoked)?,
    };
    let score = score.bulk("ZSCORE")?;
    // As Redis writes it, which may be with an exponent.
    let own: Option<f64> = score.and_then(|score| str::from_utf8(&score).ok()?.parse().ok());
    Ok(revoked == last && own.is_some_and(|own| own >= revoked.0 as f64))
}

pub(super) async fn leave(call: &Call, keys: &IndexKeys, id: SessionId) -> Result<(), CallError> {
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

/// Up to `count` entries, in the order of their places and then of their ids.
pub(super) async fn page(
    call: &Call,
    keys: &IndexKeys,
    range: &Range,
    count: usize,
) -> Result<Vec<FoundEntry>, CallError> {
    let (min, max, offset) = match range {
        Range::From(place, offset) => (place.to_string(), "+inf".to_owned(), *offset),
        Range::Before(LastRevocation(place)) => ("-inf".to_owned(), format!("({place}"), 0),
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
        [id, place, details] => FoundEntry::read(id, place, details),
        _ => None,
    });
    let entries: Option<Vec<_>> = entries.collect();
    entries.ok_or_else(|| RedisFault::Unexpected { command: "EVAL" }.into())
}

pub(super) async fn mark(call: &Call, keys: &IndexKeys) -> Result<LastRevocation, CallError> {
    place(&MARK.run(call, &keys.all(), &[]).await?)
}

pub(super) async fn take_out_older(
    call: &Call,
    keys: &IndexKeys,
    LastRevocation(place): LastRevocation,
    members: &[&str],
) -> Result<(), CallError> {
    take_out(
        TAKE_OUT_OLDER,
        call,
        keys,
        (decimal(place).as_bytes(), members),
    )
    .await
}

pub(super) async fn take_out_stale(
    call: &Call,
    keys: &IndexKeys,
    members: &[&str],
) -> Result<(), CallError> {
    let after = milliseconds(STALE_AFTER);
    take_out(TAKE_OUT_STALE, call, keys, (after.as_bytes(), members)).await
}

async fn take_out(
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

fn place(reply: &Reply) -> Result<LastRevocation, CallError> {
    let place = match reply {
        Reply::Error(_) => reply.clone().integer("EVAL")?,
        reply => reply
            .as_number()
            .ok_or(RedisFault::Unexpected { command: "EVAL" })?,
    };
    Ok(LastRevocation(u64::try_from(place).unwrap_or(0)))
}
