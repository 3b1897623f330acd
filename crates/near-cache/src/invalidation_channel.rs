//! State of the invalidation feed (the stream of changed sessions that the store reports). Cached
//! copies are valid only while the feed is trusted: the store has confirmed recently that the feed
//! is complete.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tee_session_domain::StoreInstance;

/// Time until which the invalidation feed can be trusted, and the store server that the feed
/// covers.
#[derive(Debug)]
pub(crate) struct InvalidationChannel {
    started: Instant,
    max_stale: Duration,
    /// Number of the current epoch. An increment invalidates all cached copies of earlier epochs.
    epoch: AtomicU64,
    /// Time until which the invalidation feed is trusted, in microseconds since `started`. From
    /// this time on, no cached copy is served.
    trusted_until: AtomicU64,
    /// Store server that sends the invalidation feed. `None` while the feed is lost.
    instance: Mutex<Option<StoreInstance>>,
}

/// A moment in microseconds since the creation of the [`InvalidationChannel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl InvalidationChannel {
    pub(crate) fn new(max_stale: Duration) -> Self {
        Self {
            started: Instant::now(),
            max_stale,
            epoch: AtomicU64::new(0),
            trusted_until: AtomicU64::new(0),
            instance: Mutex::new(None),
        }
    }

    pub(crate) fn max_stale(&self) -> Duration {
        self.max_stale
    }

    pub(crate) fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> Moment {
        Moment(micros(instant.saturating_duration_since(self.started)))
    }

    /// Returns the number of the current epoch while the invalidation feed is trusted. Returns
    /// `None` before the first confirmation of the feed, while the feed is lost, and if the last
    /// confirmation is older than `max_stale`.
    pub(crate) fn epoch(&self, now: Moment) -> Option<u64> {
        // The order of the two loads matters. If a thread reads the `trusted_until` of a new epoch,
        // it must also read the number of this new epoch.
        let trusted_until = self.trusted_until.load(Ordering::Acquire);
        (now.0 < trusted_until).then(|| self.epoch.load(Ordering::Acquire))
    }

    /// Returns the number of the current epoch. Returns `None` if, at the time `now`, the
    /// invalidation feed is not trusted or does not cover the store server `instance`.
    ///
    /// A new epoch begins each time the feed is lost, so that older cached copies become invalid.
    pub(crate) fn epoch_at(&self, now: Moment, instance: StoreInstance) -> Option<u64> {
        // The lock is held while the epoch is read, so that no other thread can change the covered
        // server in between.
        let covered = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        (*covered == Some(instance))
            .then(|| self.epoch(now))
            .flatten()
    }

    /// Stops trusting the invalidation feed, and begins a new epoch. Cached copies from earlier
    /// epochs are no longer used.
    pub(crate) fn feed_lost(&self) {
        let mut instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        *instance = None;
        self.trusted_until.store(0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Extends the trust in the invalidation feed until `max_stale` after the time `requested`. The
    /// store has confirmed that the feed is complete up to the time `requested`.
    ///
    /// If the feed covered another store server before, a new epoch begins.
    pub(crate) fn feed_confirmed(&self, confirmed: StoreInstance, requested: Instant) {
        let mut instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        if *instance != Some(confirmed) {
            // The existing cached copies were read from another server, so they must become
            // invalid.
            self.epoch.fetch_add(1, Ordering::AcqRel);
            *instance = Some(confirmed);
        }
        let Moment(until) = self.at(requested).after(self.max_stale);
        self.trusted_until.fetch_max(until, Ordering::AcqRel);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_STALE: Duration = Duration::from_secs(1);
    const ONE: StoreInstance = StoreInstance(1);
    const OTHER: StoreInstance = StoreInstance(2);

    #[test]
    fn feed_is_not_trusted_before_its_first_confirmation() {
        let channel = InvalidationChannel::new(MAX_STALE);
        assert_eq!(channel.epoch(channel.now()), None);
    }

    #[test]
    fn feed_is_trusted_for_exactly_max_stale_after_its_last_confirmation() {
        let channel = InvalidationChannel::new(MAX_STALE);
        let requested = Instant::now();
        channel.feed_confirmed(ONE, requested);
        let end = channel.at(requested + MAX_STALE);
        let last = channel.at(requested + MAX_STALE - Duration::from_micros(1));
        assert!(channel.epoch(last).is_some());
        assert_eq!(channel.epoch(end), None);
    }

    #[test]
    fn feed_loss_ends_the_trust_in_the_feed_and_begins_a_new_epoch() {
        let channel = InvalidationChannel::new(MAX_STALE);
        channel.feed_confirmed(ONE, Instant::now());
        let before = channel.epoch(channel.now());
        channel.feed_lost();
        assert_eq!(channel.epoch(channel.now()), None);
        channel.feed_confirmed(ONE, Instant::now());
        let after = channel.epoch(channel.now());
        assert!(after.is_some() && after != before);
    }

    #[test]
    fn feed_confirmation_covers_only_the_named_store_server() {
        let channel = InvalidationChannel::new(MAX_STALE);
        channel.feed_confirmed(ONE, Instant::now());
        let before = channel.epoch_at(channel.now(), ONE);
        assert!(before.is_some());
        assert_eq!(channel.epoch_at(channel.now(), OTHER), None);
        channel.feed_confirmed(OTHER, Instant::now());
        assert_eq!(channel.epoch_at(channel.now(), ONE), None);
        assert_ne!(channel.epoch_at(channel.now(), OTHER), before);
    }

    #[test]
    fn older_feed_confirmation_does_not_shorten_the_trust_in_the_feed() {
        let channel = InvalidationChannel::new(MAX_STALE);
        let requested = Instant::now();
        channel.feed_confirmed(ONE, requested);
        channel.feed_confirmed(ONE, requested - Duration::from_millis(500));
        assert!(
            channel
                .epoch(channel.at(requested + MAX_STALE / 4 * 3))
                .is_some()
        );
    }
}
