//! Which sessions were slid a moment ago, so that the next access need not slide them again.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use time::OffsetDateTime;

use crate::{SessionToken, TokenHash};

/// Sessions share so many sets of places, however many there are: 4 MiB, for good.
const SETS: usize = 32_768;

/// A session may be in any of the places of its set, so that sessions seldom are in each other's way:
/// of 100 000 in use one in a hundred is in a set that has not room for all.
const PLACES_OF_SET: usize = 8;

/// Remembers when sessions were last slid, those of the last moments that fit.
///
/// It takes the same memory whatever happens: a session falls into a set of places by a secret hash,
/// and takes one from whoever had it if all are taken. Who lost its place is slid once more, which
/// does no harm. Tokens are not kept. Threads share it without a lock.
#[derive(Debug)]
pub struct RecentSlides {
    interval: Duration,
    sets: Box<[Set]>,
}

/// Two lines of a processor's cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([Place; PLACES_OF_SET]);

/// The two are written one after the other. Whoever reads halves of two sessions sees a time that
/// is masked by one and unmasked by another: any of 2^64, and none of the last moments.
#[derive(Debug, Default)]
struct Place {
    /// One half of the token's hash.
    name: AtomicU64,
    /// When it was slid, in microseconds since the Unix epoch, masked by the other half.
    slid: AtomicU64,
}

impl RecentSlides {
    /// A slide counts as recent for `interval`.
    #[must_use]
    pub fn within(interval: Duration) -> Self {
        Self {
            interval,
            sets: (0..SETS).map(|_| Set::default()).collect(),
        }
    }

    /// Whether the session was slid less than the interval ago, at `now` on the clock that
    /// [`note`](Self::note) was told the time of.
    #[must_use]
    pub fn is_recent(&self, token: &SessionToken, now: OffsetDateTime) -> bool {
        let hash = TokenHash::of(token);
        let Some(place) = self.set(hash.low()).place_of(hash.low()) else {
            return false;
        };
        let slid = place.slid.load(Ordering::Acquire) ^ hash.high();
        // A clock that was set back makes it later than now.
        micros(now)
            .checked_sub(slid)
            .is_some_and(|elapsed| Duration::from_micros(elapsed) < self.interval)
    }

    /// The session was slid at `now`, or after it.
    pub fn note(&self, token: &SessionToken, now: OffsetDateTime) {
        let hash = TokenHash::of(token);
        let (name, now) = (hash.low(), micros(now));
        let place = self.set(name).place_for(name, now);
        place.slid.store(now ^ hash.high(), Ordering::Release);
        place.name.store(name, Ordering::Release);
    }

    fn set(&self, name: u64) -> &Set {
        // The length is a power of two, far below any usize.
        &self.sets[(name as usize) & (SETS - 1)]
    }
}

impl Set {
    fn place_of(&self, name: u64) -> Option<&Place> {
        let has_name = |place: &&Place| place.name.load(Ordering::Acquire) == name;
        self.0.iter().find(has_name)
    }

    /// Its place, or a free one, or any: nobody knows which of them is the oldest, and the time picks
    /// as well as chance.
    fn place_for(&self, name: u64, micros: u64) -> &Place {
        let place = self.place_of(name).or_else(|| self.place_of(0));
        place.unwrap_or(&self.0[(micros as usize) % PLACES_OF_SET])
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
    fn a_slide_is_recent_until_the_interval_has_passed_to_the_microsecond() {
        let (slides, token) = (RecentSlides::within(INTERVAL), SessionToken::generate());
        assert!(!slides.is_recent(&token, now()));
        slides.note(&token, now());
        assert!(slides.is_recent(&token, now()));
        assert!(slides.is_recent(&token, now() + INTERVAL - MICROSECOND));
        assert!(!slides.is_recent(&token, now() + INTERVAL));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_recent() {
        let (slides, token) = (RecentSlides::within(INTERVAL), SessionToken::generate());
        slides.note(&token, now());
        assert!(!slides.is_recent(&token, now() - MICROSECOND));
    }

    #[test]
    fn no_session_counts_as_slid_because_of_another() {
        let slides = RecentSlides::within(INTERVAL);
        for _ in 0..3 * SETS * PLACES_OF_SET {
            slides.note(&SessionToken::generate(), now());
        }
        for _ in 0..SETS {
            assert!(!slides.is_recent(&SessionToken::generate(), now()));
        }
    }

    #[test]
    fn of_a_hundred_thousand_sessions_nearly_all_are_remembered() {
        let slides = RecentSlides::within(INTERVAL);
        let tokens: Vec<_> = (0..100_000).map(|_| SessionToken::generate()).collect();
        for (micros, token) in tokens.iter().enumerate() {
            slides.note(token, now() + Duration::from_micros(micros as u64));
        }
        let known = tokens
            .iter()
            .filter(|token| slides.is_recent(token, now() + INTERVAL / 2));
        let known = known.count();
        assert!(known > 99_000, "{known} of 100 000");
    }

    #[test]
    fn threads_that_write_and_read_never_make_a_session_recent_that_is_not() {
        let slides = RecentSlides::within(INTERVAL);
        let tokens: Vec<_> = (0..64).map(|_| SessionToken::generate()).collect();
        // Never slid, in places that are written all the time.
        let others: Vec<_> = (0..2_000).map(|_| SessionToken::generate()).collect();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for round in 0..200 {
                        for token in &tokens {
                            slides.note(token, now() + Duration::from_micros(round));
                        }
                    }
                });
            }
            scope.spawn(|| {
                for other in &others {
                    assert!(!slides.is_recent(other, now() + INTERVAL / 2));
                }
            });
        });
    }
}
