//! Limits of open client connections, in total and per client address. At a limit, the connections
//! that have been idle for longest are closed, so that new clients are still served.

mod activity;
mod open_connections;
mod outcome;
mod place;

use std::{net::IpAddr, sync::Arc};

use tee_session_auth_middleware::TrustedProxies;
use tokio::time::Instant;

use self::{
    open_connections::{Entry, Kind, Open, OpenConnections},
    outcome::report,
};
pub(crate) use self::{
    outcome::{Limit, Outcome, SHED_CONNECTIONS},
    place::Place,
};

/// Divisor for the number of idle connections that are closed together when a limit is reached:
/// 1/64 of the limit, but at least one connection. To find the longest-idle connections, the server
/// must visit all connections. During a flood, doing so for each new connection would be too slow.
const CLOSED_AT_ONCE: usize = 64;

/// Limits the open client connections of a listener.
///
/// If a limit is reached, the longest-idle connections are closed to make room for a new
/// connection. If no connection is idle, the new connection counts as one of a few reserved
/// connections, on which the API answers only health probes. A connection whose request is being
/// handled is never closed.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    max: usize,
    /// Maximum number of connections from one address; `None` if there is no such limit.
    max_per_address: Option<usize>,
    /// Number of connections above `max` that are still accepted, for health probes.
    reserved: usize,
    trusted_proxies: TrustedProxies,
    all: Arc<OpenConnections>,
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
            all: Arc::new(OpenConnections::none()),
        }
    }

    /// Counts a new connection from `peer` towards the limits. If necessary, closes idle
    /// connections to make room. Returns `None` if the new connection must be refused.
    pub(crate) fn admit(&self, peer: Option<IpAddr>) -> Option<Place> {
        let address = peer.and_then(|peer| self.trusted_proxies.untrusted_network(peer));
        let address = address.filter(|_| self.max_per_address.is_some());
        let mut open = self.all.lock();
        let limit = self.reached(&open, address);
        let kind = match limit.map(|limit| self.make_room(&mut open, limit)) {
            None | Some(Outcome::IdleClosed) => Kind::Regular,
            Some(Outcome::HealthOnly) => Kind::Reserved,
            Some(Outcome::Refused) => return None,
        };
        Some(Place::take(&self.all, &mut open, kind, address))
    }

    fn reached(&self, open: &Open, address: Option<IpAddr>) -> Option<Limit> {
        if let (Some(address), Some(max)) = (address, self.max_per_address)
            && open.per_address.get(&address).is_some_and(|n| *n >= max)
        {
            return Some(Limit::PerAddress(address));
        }
        (open.regular >= self.max).then_some(Limit::Total)
    }

    /// Makes room for a new connection when a limit is reached. Closes idle connections to which
    /// the limit applies. If no connection is idle, uses a reserved connection.
    fn make_room(&self, open: &mut Open, limit: Limit) -> Outcome {
        let now = self.all.nanos(Instant::now());
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
        // This number also includes the connections that were asked to close and are still open.
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
}

#[cfg(test)]
mod tests;
