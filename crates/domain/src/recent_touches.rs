//! Table of recently touched sessions (sessions whose TTL was renewed recently). An access to a
//! session in this table does not renew the TTL again.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use time::OffsetDateTime;

use crate::{SessionToken, TokenHash};

/// Number of sets (buckets) in the set-associative table of touch times. Each set has
/// [`ENTRIES_PER_SET`] entries. The table takes 4 MiB, regardless of the number of sessions.
const SETS: usize = 32_768;

/// Number of entries in a set. An entry holds the time of the last touch (TTL renewal) of one
/// session. A session can use any entry of its set, so sessions rarely overwrite each other's
/// entries. With 100 000 sessions in use, 1 % of the sessions are in a set that has too few
/// entries.
const ENTRIES_PER_SET: usize = 8;

/// Table of the times at which sessions were last touched (had their TTL renewed). The table has a
/// fixed size, so it can only remember a limited number of recently touched sessions.
///
/// The table is set-associative: the keyed hash of a session's token selects a set of entries. If
/// all entries of the set are in use, the session overwrites one of them. The session that used the
/// overwritten entry is then touched once more than necessary, which does no harm. The table does
/// not store tokens. Threads share the table without a lock.
#[derive(Debug)]
pub struct RecentTouches {
    interval: Duration,
    sets: Box<[Set]>,
}

/// A set of entries, aligned so that it fills two cache lines of the processor.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([Entry; ENTRIES_PER_SET]);

/// An entry of the table: the last touch of one session. The time of the touch is stored XORed with
/// half of the token's hash.
///
/// The two fields are not written together, so a concurrent reader can get fields of two different
/// sessions. This is harmless: the time, unmasked with the wrong hash, is an arbitrary 64-bit
/// number, which is practically never a recent time.
#[derive(Debug, Default)]
struct Entry {
    /// Low half of the token's hash, which identifies the session.
    hash: AtomicU64,
    /// Time of the last touch in microseconds since the Unix epoch, masked (XOR) with the high half
    /// of the token's hash.
    touched_at: AtomicU64,
}

impl RecentTouches {
    /// Creates a table in which a touch (TTL renewal) counts as recent for the time `interval`.
    #[must_use]
    pub fn within(interval: Duration) -> Self {
        Self {
            interval,
            sets: (0..SETS).map(|_| Set::default()).collect(),
        }
    }

    /// Returns `true` if the last touch (TTL renewal) of the session of `token` was less than one
    /// touch interval before `now`. `now` must come from the same clock as the time passed to
    /// [`note`](Self::note).
    #[must_use]
    pub fn is_recent(&self, token: &SessionToken, now: OffsetDateTime) -> bool {
        let hash = TokenHash::of(token);
        let Some(entry) = self.set(hash.low()).entry_of(hash.low()) else {
            return false;
        };
        let touched_at = entry.touched_at.load(Ordering::Acquire) ^ hash.high();
        // If the clock was set back after the touch, the time of the touch is later than `now`.
        // Such a touch does not count as recent.
        micros(now)
            .checked_sub(touched_at)
            .is_some_and(|elapsed| Duration::from_micros(elapsed) < self.interval)
    }

    /// Records that the session of `token` was touched (had its TTL renewed). `now` must be read
    /// before the touch begins, so that the session never seems to live longer than it does.
    pub fn note(&self, token: &SessionToken, now: OffsetDateTime) {
        let hash = TokenHash::of(token);
        let (low, now) = (hash.low(), micros(now));
        let entry = self.set(low).entry_for(low, now);
        entry.touched_at.store(now ^ hash.high(), Ordering::Release);
        entry.hash.store(low, Ordering::Release);
    }

    fn set(&self, hash: u64) -> &Set {
        // The number of sets is a power of two and fits in any `usize`, so the cast does not change
        // the index.
        &self.sets[(hash as usize) & (SETS - 1)]
    }
}

impl Set {
    fn entry_of(&self, hash: u64) -> Option<&Entry> {
        let has_hash = |entry: &&Entry| entry.hash.load(Ordering::Acquire) == hash;
        self.0.iter().find(has_hash)
    }

    /// Returns the entry of the session whose token has the hash `hash`. If the session has no
    /// entry, returns a free entry. If the set is full, returns an arbitrary entry. `micros` (the
    /// current time in microseconds) serves as the random number that selects this entry.
    fn entry_for(&self, hash: u64, micros: u64) -> &Entry {
        let entry = self.entry_of(hash).or_else(|| self.entry_of(0));
        entry.unwrap_or(&self.0[(micros as usize) % ENTRIES_PER_SET])
    }
}

fn micros(time: OffsetDateTime) -> u64 {
    let seconds = time.unix_timestamp().saturating_mul(1_000_000);
    u64::try_from(seconds.saturating_add(i64::from(time.microsecond()))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);
    const MICROSECOND: Duration = Duration::from_micros(1);

    fn now() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn touch_counts_as_recent_until_the_touch_interval_has_passed() {
        let (touches, token) = (RecentTouches::within(INTERVAL), SessionToken::generate());
        assert!(!touches.is_recent(&token, now()));
        touches.note(&token, now());
        assert!(touches.is_recent(&token, now()));
        assert!(touches.is_recent(&token, now() + INTERVAL - MICROSECOND));
        assert!(!touches.is_recent(&token, now() + INTERVAL));
    }

    #[test]
    fn touch_is_not_recent_after_the_clock_was_set_back() {
        let (touches, token) = (RecentTouches::within(INTERVAL), SessionToken::generate());
        touches.note(&token, now());
        assert!(!touches.is_recent(&token, now() - MICROSECOND));
    }

    #[test]
    fn touches_of_other_sessions_do_not_make_a_session_recent() {
        let touches = RecentTouches::within(INTERVAL);
        for _ in 0..3 * SETS * ENTRIES_PER_SET {
            touches.note(&SessionToken::generate(), now());
        }
        for _ in 0..SETS {
            assert!(!touches.is_recent(&SessionToken::generate(), now()));
        }
    }

    #[test]
    fn touch_table_remembers_99_percent_of_100_000_sessions() {
        let touches = RecentTouches::within(INTERVAL);
        let tokens: Vec<_> = (0..100_000).map(|_| SessionToken::generate()).collect();
        for (micros, token) in tokens.iter().enumerate() {
            touches.note(token, now() + Duration::from_micros(micros as u64));
        }
        let known = tokens
            .iter()
            .filter(|token| touches.is_recent(token, now() + INTERVAL / 2));
        let known = known.count();
        assert!(known > 99_000, "{known} of 100 000");
    }

    #[test]
    fn concurrent_touches_never_make_an_untouched_session_recent() {
        let touches = RecentTouches::within(INTERVAL);
        let tokens: Vec<_> = (0..64).map(|_| SessionToken::generate()).collect();
        // These sessions are never touched, but other sessions in the same sets are touched all the
        // time.
        let others: Vec<_> = (0..2_000).map(|_| SessionToken::generate()).collect();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for round in 0..200 {
                        for token in &tokens {
                            touches.note(token, now() + Duration::from_micros(round));
                        }
                    }
                });
            }
            scope.spawn(|| {
                for other in &others {
                    assert!(!touches.is_recent(other, now() + INTERVAL / 2));
                }
            });
        });
    }
}
