//! Whether changes are told: what makes a copy good.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tee_session_domain::StoreInstance;

/// What the store's channel was last heard to say.
#[derive(Debug)]
pub(crate) struct Channel {
    began: Instant,
    max_stale: Duration,
    /// Grows whenever all copies become bad.
    epoch: AtomicU64,
    /// In microseconds since it began. Nothing is served from then on.
    trusted_until: AtomicU64,
    instance: Mutex<Option<StoreInstance>>,
}

/// A moment, in microseconds since the channel began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl Channel {
    pub(crate) fn new(max_stale: Duration) -> Self {
        Self {
            began: Instant::now(),
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
        Moment(micros(instant.saturating_duration_since(self.began)))
    }

    /// The epoch, while changes are told.
    pub(crate) fn epoch(&self, now: Moment) -> Option<u64> {
        // In this order: whoever sees the trust of a new epoch sees the epoch.
        let trusted_until = self.trusted_until.load(Ordering::Acquire);
        (now.0 < trusted_until).then(|| self.epoch.load(Ordering::Acquire))
    }

    /// The epoch, if changes at this instance of the store are told.
    pub(crate) fn epoch_at(&self, now: Moment, instance: StoreInstance) -> Option<u64> {
        // The epoch is read while the instance cannot change.
        let told_of = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        (*told_of == Some(instance))
            .then(|| self.epoch(now))
            .flatten()
    }

    pub(crate) fn lost(&self) {
        let mut instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        *instance = None;
        self.trusted_until.store(0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn told(&self, of: StoreInstance, asked: Instant) {
        let mut instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        if *instance != Some(of) {
            // Copies of what another one kept.
            self.epoch.fetch_add(1, Ordering::AcqRel);
            *instance = Some(of);
        }
        let Moment(until) = self.at(asked).after(self.max_stale);
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
    fn nothing_is_trusted_before_something_was_told() {
        let channel = Channel::new(MAX_STALE);
        assert_eq!(channel.epoch(channel.now()), None);
    }

    #[test]
    fn trust_ends_when_the_last_telling_is_too_old_to_the_microsecond() {
        let channel = Channel::new(MAX_STALE);
        let asked = Instant::now();
        channel.told(ONE, asked);
        let end = channel.at(asked + MAX_STALE);
        let last = channel.at(asked + MAX_STALE - Duration::from_micros(1));
        assert!(channel.epoch(last).is_some());
        assert_eq!(channel.epoch(end), None);
    }

    #[test]
    fn a_loss_ends_trust_and_the_epoch_that_follows_is_another() {
        let channel = Channel::new(MAX_STALE);
        channel.told(ONE, Instant::now());
        let before = channel.epoch(channel.now());
        channel.lost();
        assert_eq!(channel.epoch(channel.now()), None);
        channel.told(ONE, Instant::now());
        let after = channel.epoch(channel.now());
        assert!(after.is_some() && after != before);
    }

    #[test]
    fn what_is_told_of_one_instance_says_nothing_of_another() {
        let channel = Channel::new(MAX_STALE);
        channel.told(ONE, Instant::now());
        let before = channel.epoch_at(channel.now(), ONE);
        assert!(before.is_some());
        assert_eq!(channel.epoch_at(channel.now(), OTHER), None);
        channel.told(OTHER, Instant::now());
        assert_eq!(channel.epoch_at(channel.now(), ONE), None);
        assert_ne!(channel.epoch_at(channel.now(), OTHER), before);
    }

    #[test]
    fn an_old_telling_takes_nothing_back() {
        let channel = Channel::new(MAX_STALE);
        let asked = Instant::now();
        channel.told(ONE, asked);
        channel.told(ONE, asked - Duration::from_millis(500));
        assert!(
            channel
                .epoch(channel.at(asked + MAX_STALE / 4 * 3))
                .is_some()
        );
    }
}
