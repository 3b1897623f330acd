//! Near cache: copies of sessions in the memory of this process. All repositories of the process
//! share one near cache.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use tee_session_domain::{
    InvalidationListener, Session, SessionId, SessionToken, SessionWithTtl, StoreInstance,
    StoreKey, TokenHash,
};

use crate::{
    NearCacheSettings,
    change_counters::ChangeCounters,
    entries::{Entries, Entry},
    invalidation_channel::{InvalidationChannel, Moment},
    single_flight::{ReadRequest, Role, SingleFlight},
    statistics::Statistics,
};

/// Interval between two sweeps. A sweep removes invalid cached copies and wipes their memory.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A cache of sessions in the memory of this process, with a limited size.
///
/// The store reports changed sessions to the cache through an invalidation feed (see
/// [`InvalidationListener`]). The cache serves cached copies only while the store confirms
/// regularly that the feed is complete. Before the first confirmation, and while the feed is lost,
/// every request goes to the store.
///
/// Threads can share the cache. [`new`](Self::new) registers the metrics of the cache with the
/// [`metrics`] recorder that is installed at that time.
pub struct NearCache {
    own: Weak<Self>,
    channel: InvalidationChannel,
    change_counters: ChangeCounters,
    entries: Entries,
    single_flight: SingleFlight,
    statistics: Statistics,
    next_sweep: Mutex<Instant>,
}

/// State of the near cache before a session is read from the store: a snapshot of the invalidation
/// feed and of the change counters. The result of the read may be cached only if the feed and the
/// counters are unchanged after the read.
#[derive(Debug, Clone)]
pub(crate) struct PreparedRead {
    request: ReadRequest,
    instance: StoreInstance,
}

impl NearCache {
    /// Creates an empty near cache.
    #[must_use]
    pub fn new(settings: &NearCacheSettings) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            channel: InvalidationChannel::new(settings.max_stale),
            change_counters: ChangeCounters::for_entries(settings.max_entries),
            entries: Entries::new(settings),
            single_flight: SingleFlight::default(),
            statistics: Statistics::new(),
            next_sweep: Mutex::new(Instant::now() + SWEEP_INTERVAL),
        })
    }

    /// Returns the maximum time for which cached copies are served after the last confirmation of
    /// the invalidation feed.
    #[must_use]
    pub fn max_stale(&self) -> Duration {
        self.channel.max_stale()
    }

    /// Returns the number of cached copies. Invalid copies count until a sweep removes them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if the cache contains no cached copy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if cached copies can be served, because the store has confirmed the
    /// invalidation feed recently.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.channel.epoch(self.channel.now()).is_some()
    }

    /// Returns the cached copy of a session if the copy is valid and was read from the store server
    /// `instance`. Returns `None` if there is no such copy, or if the store has not confirmed the
    /// invalidation feed recently.
    pub(crate) fn get(
        &self,
        hash: TokenHash,
        token: &SessionToken,
        instance: StoreInstance,
    ) -> Option<Session> {
        let now = self.channel.now();
        let epoch = self.channel.epoch(now)?;
        let entry = self.entries.get(hash)?;
        if entry.instance != instance || !self.is_valid(&entry, epoch, now) {
            return None;
        }
        self.statistics.hit.increment(1);
        token.record_session_id(entry.id);
        Some(entry.session)
    }

    fn is_valid(&self, entry: &Entry, epoch: u64, now: Moment) -> bool {
        entry.epoch == epoch
            && now < entry.expires_at
            && self.change_counters.unchanged_since(&entry.snapshot)
    }

    /// Records the state of the cache before a session is read from the store server `instance`.
    ///
    /// Returns `None` if the store has not confirmed the invalidation feed recently, or if the feed
    /// covers another server than `instance`. Also returns `None` if `keys`, the store keys under
    /// which the session may be stored, is empty or has too many entries. In these cases, the
    /// result of the read must not be cached or shared between requests.
    pub(crate) fn prepare_read(
        &self,
        hash: TokenHash,
        instance: Option<StoreInstance>,
        keys: &[StoreKey],
        ttl: Option<Duration>,
    ) -> Option<PreparedRead> {
        let prepare = || {
            let now = self.channel.now();
            let instance = instance?;
            let epoch = self.channel.epoch_at(now, instance)?;
            let snapshot = self.change_counters.snapshot(keys)?;
            let request = ReadRequest {
                hash,
                ttl,
                epoch,
                snapshot,
                now,
            };
            Some(PreparedRead { request, instance })
        };
        let prepared = prepare();
        if prepared.is_none() {
            self.statistics.bypassed.increment(1);
        }
        prepared
    }

    /// Joins a pending read of the same session as a follower, or starts a new read as its leader
    /// (single-flight).
    pub(crate) fn join_or_lead(&self, prepared: &PreparedRead) -> Role<'_> {
        let role = self.single_flight.join_or_lead(prepared.request.clone());
        let counter = match &role {
            Role::Leader(_) => &self.statistics.miss,
            Role::Follower(_) => &self.statistics.joined,
        };
        counter.increment(1);
        role
    }

    /// Caches a session after it was read from the store. Does nothing if the session was
    /// invalidated during the read, or if the server `read_from` is not the server of the prepared
    /// read.
    ///
    /// A record without an expiry is not cached. Tee Session always stores an expiry, so another
    /// program has changed the record.
    pub(crate) fn insert(
        &self,
        prepared: &PreparedRead,
        read_from: Option<StoreInstance>,
        read: &SessionWithTtl,
        id: SessionId,
    ) {
        let Some(remaining) = read.remaining else {
            return;
        };
        if read_from != Some(prepared.instance) {
            return;
        }
        let ReadRequest {
            hash,
            epoch,
            snapshot,
            now,
            ..
        } = prepared.request.clone();
        // Each look-up repeats these checks, so they are not needed for correctness here. They only
        // avoid storing a copy that is already invalid.
        if self.channel.epoch(self.channel.now()) != Some(epoch)
            || !self.change_counters.unchanged_since(&snapshot)
        {
            return;
        }
        let entry = Entry {
            session: read.session.clone(),
            id,
            instance: prepared.instance,
            epoch,
            snapshot,
            // `now` was taken before the read, and the store computed the remaining TTL during the
            // read. The cached copy therefore never expires after its session.
            expires_at: now.after(remaining),
        };
        self.entries.insert(hash, entry);
    }

    /// Removes the cached copy of a session that this process changed or found missing.
    ///
    /// After this call, no thread gets an older state of the session from the cache.
    pub(crate) fn forget(&self, hash: TokenHash, keys: &[StoreKey]) {
        for key in keys {
            self.change_counters.increment(key.expose_secret());
        }
        self.single_flight.forget(hash);
        self.entries.remove(hash);
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
        // The sweep runs in its own thread. With a million cached copies, it would block the task
        // that delivers invalidations for too long.
        if let Some(cache) = self.own.upgrade() {
            let thread = thread::Builder::new().name("near cache sweep".to_owned());
            // If no thread can be started, the next sweep follows after [`SWEEP_INTERVAL`].
            let _ = thread.spawn(move || cache.sweep());
        }
    }

    fn sweep(&self) {
        let moment = self.channel.now();
        if let Some(epoch) = self.channel.epoch(moment) {
            self.entries
                .retain(|entry| self.is_valid(entry, epoch, moment));
        }
        self.statistics.entries.set(self.entries.len() as f64);
    }
}

impl InvalidationListener for NearCache {
    fn invalidate(&self, key: &[u8]) {
        self.change_counters.increment(key);
        self.statistics.changes.increment(1);
    }

    fn feed_lost(&self) {
        self.channel.feed_lost();
        self.entries.clear();
        self.statistics.flushes.increment(1);
        self.statistics.entries.set(0.0);
    }

    fn feed_confirmed(&self, instance: StoreInstance, requested: Instant) {
        self.channel.feed_confirmed(instance, requested);
        self.sweep_if_due();
    }
}
