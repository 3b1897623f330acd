//! Limits of open client connections, in total and per client address. At a limit, the connections
//! that have been idle for longest are closed, so that new clients are still served.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use metrics::counter;
use tee_session_auth_middleware::TrustedProxies;
use tee_session_domain::LogLimit;
use tokio::time::Instant;

static IDLE_CLOSED: LogLimit = LogLimit::per_second(1);
static NONE_IDLE: LogLimit = LogLimit::per_second(1);

/// Divisor for the number of connections that are closed at once at a limit: 1/64 of the limit, but
/// at least one connection. To find the longest-idle connections, all connections are visited. This
/// would be too slow for each new connection of a flood.
const CLOSED_AT_ONCE: usize = 64;

/// Time without progress after which a connection counts as idle although a response is still being
/// written to it, because its client does not read.
const BLOCKED_WRITE_IS_IDLE_AFTER: Duration = Duration::from_secs(1);

/// Value of [`Activity::idle_since`] while a request is being handled.
const BUSY: u64 = u64::MAX;

/// Name of the counter in the catalogue of metrics.
pub(crate) const SHED_CONNECTIONS: &str = "tee_session_connections_shed_total";

/// Limits the open client connections of a listener.
///
/// If a limit is reached, a new connection takes the place of the connections that have been idle
/// for longest. If no connection is idle, the new connection gets one of a few reserved places, on
/// which the API answers only health probes. A connection whose request is being handled is never
/// closed.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    max: usize,
    /// Maximum number of connections from one address; `None` if there is no such limit.
    max_per_address: Option<usize>,
    /// Number of connections above `max` that are still accepted, for health probes.
    reserved: usize,
    trusted_proxies: TrustedProxies,
    started: Instant,
    open: Mutex<Open>,
}

/// The limit that a new connection has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Total,
    PerAddress(IpAddr),
}

impl Limit {
    /// All labels of the limits in metrics and logs. A label is the name of the setting.
    pub(crate) const LABELS: [&str; 2] = ["max_connections", "max_connections_per_address"];

    fn label(self) -> &'static str {
        let [total, per_address] = Self::LABELS;
        match self {
            Self::Total => total,
            Self::PerAddress(_) => per_address,
        }
    }
}

/// Consequence of a reached limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An idle connection was closed.
    IdleClosed,
    /// No connection was idle: the new connection is used for health probes only.
    HealthOnly,
    /// No connection was idle and no reserved place was left: the new connection was closed.
    Refused,
}

impl Outcome {
    pub(crate) const ALL: [Self; 3] = [Self::IdleClosed, Self::HealthOnly, Self::Refused];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::IdleClosed => "idle_closed",
            Self::HealthOnly => "health_only",
            Self::Refused => "refused",
        }
    }
}

/// All open connections of a listener.
#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    connections: HashMap<u64, Entry>,
    /// Number of connections with [`Kind::Regular`].
    regular: usize,
    /// Number of connections with [`Kind::Regular`] from each address that is limited.
    per_address: HashMap<IpAddr, usize>,
    /// Number of connections with [`Kind::Reserved`].
    reserved: usize,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// Address or IPv6 network of the client; `None` if it is not limited.
    address: Option<IpAddr>,
    activity: Arc<Activity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    /// The connection has a reserved place, for health probes.
    Reserved,
    /// The connection has been requested to close. Its place is free again.
    Closing,
}

/// State of a connection that its worker thread updates and other threads read.
#[derive(Debug)]
struct Activity {
    /// Time in nanoseconds since the limits were created, or [`BUSY`].
    idle_since: AtomicU64,
    is_write_blocked: AtomicBool,
    is_closing: AtomicBool,
    /// Task of the connection, to be woken when the connection shall close.
    task: AtomicWaker,
}

impl Activity {
    /// Returns the time since which the connection has been idle, in the unit of `now`. Returns
    /// `None` if the connection is not idle.
    fn idle_since(&self, now: u64) -> Option<u64> {
        let since = self.idle_since.load(Ordering::Relaxed);
        let is_writing = self.is_write_blocked.load(Ordering::Relaxed)
            && u128::from(now.saturating_sub(since)) < BLOCKED_WRITE_IS_IDLE_AFTER.as_nanos();
        (since != BUSY && !is_writing).then_some(since)
    }

    fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl ConnectionLimits {
    /// Creates limits of `max` connections in total and of `max_per_address` connections from one
    /// address, except for `trusted_proxies`. Further `reserved` connections are accepted for
    /// health probes.
    pub(crate) fn new(
        max: usize,
        max_per_address: Option<usize>,
        reserved: usize,
        trusted_proxies: TrustedProxies,
    ) -> Self {
        Self {
            max,
            max_per_address,
            reserved,
            trusted_proxies,
            started: Instant::now(),
            open: Mutex::default(),
        }
    }

    /// Gives a new connection from `peer` a place. If necessary, closes idle connections to make
    /// room. Returns `None` if there is no place for the new connection.
    pub(crate) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Place> {
        let address = peer.and_then(|peer| self.trusted_proxies.untrusted_network(peer));
        let address = address.filter(|_| self.max_per_address.is_some());
        let mut open = self.lock();
        let limit = self.reached(&open, address);
        let kind = match limit.map(|limit| self.make_room(&mut open, limit)) {
            None | Some(Outcome::IdleClosed) => Kind::Regular,
            Some(Outcome::HealthOnly) => Kind::Reserved,
            Some(Outcome::Refused) => return None,
        };
        let activity = Arc::new(Activity {
            idle_since: AtomicU64::new(self.nanos(Instant::now())),
            is_write_blocked: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        let id = open.next_id;
        open.next_id += 1;
        open.count(kind, address);
        let entry = Entry {
            kind,
            address,
            activity: Arc::clone(&activity),
        };
        open.connections.insert(id, entry);
        drop(open);
        Some(Place {
            limits: Arc::clone(self),
            id,
            is_reserved: kind == Kind::Reserved,
            activity,
        })
    }

    fn reached(&self, open: &Open, address: Option<IpAddr>) -> Option<Limit> {
        if let (Some(address), Some(max)) = (address, self.max_per_address)
            && open.per_address.get(&address).is_some_and(|n| *n >= max)
        {
            return Some(Limit::PerAddress(address));
        }
        (open.regular >= self.max).then_some(Limit::Total)
    }

    /// Makes room for one more connection at a limit. Closes idle connections to which the limit
    /// applies. If there are none, uses a reserved place.
    fn make_room(&self, open: &mut Open, limit: Limit) -> Outcome {
        let now = self.nanos(Instant::now());
        let max = match limit {
            Limit::Total => self.max,
            Limit::PerAddress(_) => self.max_per_address.unwrap_or(self.max),
        };
        let applies = |entry: &Entry| match limit {
            Limit::Total => entry.kind == Kind::Regular,
            Limit::PerAddress(address) => {
                entry.kind == Kind::Regular && entry.address == Some(address)
            }
        };
        let closed = open.close_longest_idle(now, (max / CLOSED_AT_ONCE).max(1), applies);
        // Connections that were requested to close count here until they are closed.
        let has_room = open.connections.len() < self.max + 2 * self.reserved;
        let is_reserve_used = open.reserved >= self.reserved;
        let outcome = if !has_room {
            Outcome::Refused
        } else if closed > 0 {
            Outcome::IdleClosed
        } else if is_reserve_used
            && open.close_longest_idle(now, 1, |entry| entry.kind == Kind::Reserved) == 0
        {
            Outcome::Refused
        } else {
            Outcome::HealthOnly
        };
        if closed > 0 {
            report(limit.label(), max, Outcome::IdleClosed, closed);
        }
        if outcome != Outcome::IdleClosed {
            report(limit.label(), max, outcome, 1);
        }
        outcome
    }

    fn nanos(&self, time: Instant) -> u64 {
        let elapsed = time.saturating_duration_since(self.started).as_nanos();
        // A `u64` can express 584 years in nanoseconds.
        u64::try_from(elapsed).unwrap_or(BUSY - 1)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count(&mut self, kind: Kind, address: Option<IpAddr>) {
        match kind {
            Kind::Regular => {
                self.regular += 1;
                if let Some(address) = address {
                    *self.per_address.entry(address).or_default() += 1;
                }
            }
            Kind::Reserved => self.reserved += 1,
            Kind::Closing => {}
        }
    }

    fn discount(&mut self, kind: Kind, address: Option<IpAddr>) {
        match kind {
            Kind::Regular => {
                self.regular -= 1;
                if let Some(address) = address
                    && let Some(number) = self.per_address.get_mut(&address)
                {
                    *number -= 1;
                    if *number == 0 {
                        self.per_address.remove(&address);
                    }
                }
            }
            Kind::Reserved => self.reserved -= 1,
            Kind::Closing => {}
        }
    }

    /// Requests up to `number` idle connections to close. Considers only the connections that
    /// `applies` selects, and chooses those that have been idle for longest. Returns the number of
    /// connections that were requested to close.
    fn close_longest_idle(
        &mut self,
        now: u64,
        number: usize,
        applies: impl Fn(&Entry) -> bool,
    ) -> usize {
        let idle = self.connections.iter().filter(|(_, entry)| applies(entry));
        let idle = idle.filter_map(|(id, entry)| Some((entry.activity.idle_since(now)?, *id)));
        let mut idle: Vec<_> = idle.collect();
        if idle.len() > number {
            idle.select_nth_unstable(number);
            idle.truncate(number);
        }
        for (_, id) in &idle {
            let Some(entry) = self.connections.get_mut(id) else {
                continue;
            };
            let (kind, address) = (entry.kind, entry.address);
            entry.kind = Kind::Closing;
            entry.activity.close();
            self.discount(kind, address);
        }
        idle.len()
    }
}

fn report(limit: &'static str, max: usize, outcome: Outcome, number: usize) {
    counter!(SHED_CONNECTIONS, "limit" => limit, "outcome" => outcome.label())
        .increment(number as u64);
    if outcome == Outcome::IdleClosed {
        if let Some(unlogged) = IDLE_CLOSED.next() {
            tracing::warn!(
                limit,
                max,
                unlogged,
                "Connection limit reached: the longest-idle connections are closed"
            );
        }
    } else if let Some(unlogged) = NONE_IDLE.next() {
        tracing::warn!(
            limit,
            max,
            unlogged,
            "Connection limit reached, and no connection is idle: new connections get answers to \
             health probes only"
        );
    }
}

/// Place of one open connection within the limits. The place is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    limits: Arc<ConnectionLimits>,
    id: u64,
    is_reserved: bool,
    activity: Arc<Activity>,
}

impl Place {
    /// Returns `true` if the connection may be used for health probes only.
    pub(crate) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Records that a request is being handled. The connection is then not closed.
    pub(crate) fn set_busy(&self) {
        self.activity.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// Records that the connection has been idle since `since`.
    pub(crate) fn set_idle(&self, since: Instant) {
        let since = self.limits.nanos(since);
        self.activity.idle_since.store(since, Ordering::Relaxed);
    }

    /// Records whether the client currently does not read a response that is being written.
    pub(crate) fn set_write_blocked(&self, is_blocked: bool) {
        let activity = &self.activity;
        activity
            .is_write_blocked
            .store(is_blocked, Ordering::Relaxed);
    }

    /// Wakes the task that called [`poll_closing`](Self::poll_closing) last.
    pub(crate) fn wake(&self) {
        self.activity.task.wake();
    }

    /// Returns `true` if the connection shall close because its place is needed for another one.
    pub(crate) fn is_closing(&self) -> bool {
        self.activity.is_closing.load(Ordering::Acquire)
    }

    /// Waits until the connection shall close because its place is needed for another one.
    pub(crate) async fn closing(&self) {
        poll_fn(|cx| self.poll_closing(cx)).await;
    }

    /// Returns `Ready` if the connection shall close. Otherwise arranges that the task is woken
    /// when it shall close.
    pub(crate) fn poll_closing(&self, cx: &Context<'_>) -> Poll<()> {
        self.activity.task.register(cx.waker());
        if self.is_closing() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        if let Some(entry) = open.connections.remove(&self.id) {
            open.discount(entry.kind, entry.address);
        }
    }
}

#[cfg(test)]
mod tests;
