//! The open connections of a listener, and the number of connections that count towards each limit.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::activity::{Activity, BUSY};

/// The open connections of a listener, shared by its [`ConnectionLimits`] and the [`Place`] of each
/// connection.
///
/// [`ConnectionLimits`]: super::ConnectionLimits
/// [`Place`]: super::Place
#[derive(Debug)]
pub(super) struct OpenConnections {
    started: Instant,
    open: Mutex<Open>,
}

impl OpenConnections {
    pub(super) fn none() -> Self {
        Self {
            started: Instant::now(),
            open: Mutex::default(),
        }
    }

    /// Returns the nanoseconds from the start of the listener to `time`.
    pub(super) fn nanos(&self, time: Instant) -> u64 {
        let elapsed = time.saturating_duration_since(self.started).as_nanos();
        // A `u64` can express 584 years in nanoseconds.
        u64::try_from(elapsed).unwrap_or(BUSY - 1)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open connections by their id, and the numbers of connections that count towards the limits.
#[derive(Debug, Default)]
pub(super) struct Open {
    next_id: u64,
    pub(super) connections: HashMap<u64, Entry>,
    /// Number of open connections with [`Kind::Regular`].
    pub(super) regular: usize,
    /// Number of open connections with [`Kind::Regular`] from each address to which the limit per
    /// address applies.
    pub(super) per_address: HashMap<IpAddr, usize>,
    /// Number of open connections with [`Kind::Reserved`].
    pub(super) reserved: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Address or IPv6 network of the client; `None` if the limit per address does not apply.
    pub(super) address: Option<IpAddr>,
    pub(super) activity: Arc<Activity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    /// The connection is one of the reserved ones, on which only health probes are answered.
    Reserved,
    /// The connection was asked to close. It no longer counts towards a limit.
    Closing,
}

impl Open {
    /// Adds a connection, and returns the id of the connection.
    pub(super) fn insert(&mut self, entry: Entry) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.count(entry.kind, entry.address);
        self.connections.insert(id, entry);
        id
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(entry) = self.connections.remove(&id) {
            self.discount(entry.kind, entry.address);
        }
    }

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

    /// Asks up to `number` idle connections to close. Considers only the connections for which
    /// `applies` returns `true`, and chooses those that have been idle for longest. Returns the
    /// number of connections that were asked to close.
    pub(super) fn close_longest_idle(
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
