//! The cache: one for a process, whatever number of repositories it stands before.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use tee_session_domain::{
    ChangeListener, PeekedSession, Session, SessionId, SessionToken, StoreInstance, StoreKey,
    TokenHash,
};

use crate::{
    NearCacheSettings,
    channel::{Channel, Moment},
    entries::{Entries, Entry},
    flights::{Boarding, Flights, Wanted},
    statistics::Statistics,
    versions::Versions,
};

/// Copies that are not good any more are looked for, and wiped, so often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Copies of sessions, within bounds, that are only served while the store tells of changes.
///
/// It hears of them as a [`ChangeListener`]; before it has, and whenever it does not, everything is
/// asked of the store. Threads share it. It counts with the recorder of
/// [`metrics`] that is set when it is made.
pub struct NearCache {
    own: Weak<Self>,
    channel: Channel,
    versions: Versions,
    entries: Entries,
    flights: Flights,
    statistics: Statistics,
    next_sweep: Mutex<Instant>,
}

/// What was known before a session was read: whether its copy may be kept, and is still good.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    wanted: Wanted,
    instance: StoreInstance,
}

impl NearCache {
    /// An empty cache.
    #[must_use]
    pub fn new(settings: &NearCacheSettings) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            channel: Channel::new(settings.max_stale),
            versions: Versions::for_entries(settings.max_entries),
            entries: Entries::new(settings),
            flights: Flights::default(),
            statistics: Statistics::new(),
            next_sweep: Mutex::new(Instant::now() + SWEEP_INTERVAL),
        })
    }

    /// How long a copy is served, at most, after the store last told of changes.
    #[must_use]
    pub fn max_stale(&self) -> Duration {
        self.channel.max_stale()
    }

    /// How many copies there are. Some may not be good any more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no copy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether copies are served now.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.channel.epoch(self.channel.now()).is_some()
    }

    /// A good copy, for who would ask `instance`.
    pub(crate) fn copy(
        &self,
        name: TokenHash,
        token: &SessionToken,
        instance: StoreInstance,
    ) -> Option<Session> {
        let now = self.channel.now();
        let epoch = self.channel.epoch(now)?;
        let entry = self.entries.get(name)?;
        if entry.instance != instance || !self.is_good(&entry, epoch, now) {
            return None;
        }
        self.statistics.hit.increment(1);
        token.know_session_id(entry.id);
        Some(entry.session)
    }

    fn is_good(&self, entry: &Entry, epoch: u64, now: Moment) -> bool {
        entry.epoch == epoch && now < entry.ends && self.versions.are_as(&entry.seen)
    }

    /// Looks before a session is read from `instance`. `None` while changes there are not told.
    pub(crate) fn look(
        &self,
        name: TokenHash,
        instance: Option<StoreInstance>,
        keys: &[StoreKey],
        ttl: Option<Duration>,
    ) -> Option<Reading> {
        let look = || {
            let now = self.channel.now();
            let instance = instance?;
            let epoch = self.channel.epoch_at(now, instance)?;
            let seen = self.versions.look(keys)?;
            let wanted = Wanted {
                name,
                ttl,
                epoch,
                seen,
                now,
            };
            Some(Reading { wanted, instance })
        };
        let reading = look();
        if reading.is_none() {
            self.statistics.bypassed.increment(1);
        }
        reading
    }

    /// Joins a reading that is under way, or leads one.
    pub(crate) fn board(&self, reading: &Reading) -> Boarding<'_> {
        let boarding = self.flights.board(reading.wanted.clone());
        let counter = match &boarding {
            Boarding::Lead(_) => &self.statistics.miss,
            Boarding::Join(_) => &self.statistics.joined,
        };
        counter.increment(1);
        boarding
    }

    /// Keeps a copy of what was read, if it was read from the instance whose changes are told. One
    /// without an end is not kept: it is no session as we store them.
    pub(crate) fn keep(
        &self,
        reading: &Reading,
        read_from: Option<StoreInstance>,
        read: &PeekedSession,
        id: SessionId,
    ) {
        let Some(remaining) = read.remaining else {
            return;
        };
        if read_from != Some(reading.instance) {
            return;
        }
        let Wanted {
            name,
            epoch,
            seen,
            now,
            ..
        } = reading.wanted.clone();
        // Rather than to be found bad later.
        if self.channel.epoch(self.channel.now()) != Some(epoch) || !self.versions.are_as(&seen) {
            return;
        }
        let entry = Entry {
            session: read.session.clone(),
            id,
            instance: reading.instance,
            epoch,
            seen,
            // From before it was read: the store counted from a later moment.
            ends: now.after(remaining),
        };
        self.entries.put(name, entry);
    }

    /// A session was changed here: whoever asks from now on, on whatever thread, sees that.
    pub(crate) fn forget(&self, name: TokenHash, keys: &[StoreKey]) {
        for key in keys {
            self.versions.change(key.expose_secret());
        }
        self.flights.forget(name);
        self.entries.remove(name);
    }

    fn sweep_if_due(&self) {
        let mut next = self
            .next_sweep
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now < *next {
            return;
        }
        *next = now + SWEEP_INTERVAL;
        // Looking at a million copies takes a while, and the task that tells changes must not.
        if let Some(cache) = self.own.upgrade() {
            let thread = thread::Builder::new().name("near cache sweep".to_owned());
            // Without a thread it is done next time.
            let _ = thread.spawn(move || cache.sweep());
        }
    }

    fn sweep(&self) {
        let moment = self.channel.now();
        if let Some(epoch) = self.channel.epoch(moment) {
            self.entries
                .retain(|entry| self.is_good(entry, epoch, moment));
        }
        self.statistics.entries.set(self.entries.len() as f64);
    }
}

impl ChangeListener for NearCache {
    fn changed(&self, key: &[u8]) {
        self.versions.change(key);
        self.statistics.changes.increment(1);
    }

    fn lost(&self) {
        self.channel.lost();
        self.entries.clear();
        self.statistics.flushes.increment(1);
        self.statistics.entries.set(0.0);
    }

    fn told(&self, instance: StoreInstance, asked: Instant) {
        self.channel.told(instance, asked);
        self.sweep_if_due();
    }
}
