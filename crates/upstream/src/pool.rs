//! Pool of idle connections to sites.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::spawn,
    time::{Instant, sleep},
};

use crate::{connection::Connection, site::Site};

/// Interval between two searches for connections that have exceeded the idle timeout.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Pool of idle connections, by site. The most recently used connection of a site is reused first.
pub(crate) struct Pool {
    state: Mutex<State>,
    idle_timeout: Duration,
    max_idle_per_site: usize,
    max_idle: usize,
}

#[derive(Default)]
struct State {
    idle: HashMap<Site, Vec<Idle>>,
    is_swept: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
    until: Instant,
}

impl Idle {
    fn is_usable(&self, now: Instant) -> bool {
        now < self.until && !self.connection.is_closed()
    }
}

impl State {
    /// Closes the longest-idle connections until at most `max` remain.
    fn limit(&mut self, max: usize) {
        let mut count: usize = self.idle.values().map(Vec::len).sum();
        while count > max {
            // The first connection to a site has been idle for longest.
            let oldest = self.idle.iter().filter_map(|(site, idles)| {
                let first = idles.first()?;
                Some((first.since, site))
            });
            let oldest = oldest.min_by_key(|(since, _)| *since);
            let Some(site) = oldest.map(|(_, site)| site.clone()) else {
                return;
            };
            if let Some(idles) = self.idle.get_mut(&site) {
                idles.remove(0);
                if idles.is_empty() {
                    self.idle.remove(&site);
                }
            }
            count -= 1;
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(idle_timeout: Duration, max_idle_per_site: usize, max_idle: usize) -> Self {
        Self {
            state: Mutex::default(),
            idle_timeout,
            max_idle_per_site,
            max_idle,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes an idle connection to `site` from the pool and returns it. Skips connections that
    /// have been closed or have exceeded their idle timeout. Returns `None` if no usable connection
    /// remains.
    pub(crate) fn take(&self, site: &Site) -> Option<Connection> {
        let mut state = self.state();
        let idle = state.idle.get_mut(site)?;
        let now = Instant::now();
        let mut found = None;
        while found.is_none()
            && let Some(last) = idle.pop()
        {
            found = last.is_usable(now).then_some(last.connection);
        }
        if idle.is_empty() {
            state.idle.remove(site);
        }
        found
    }

    /// Adds a connection to the pool. The connection must be ready for the next request.
    /// `announced` is the time for which the site keeps an idle connection open, from its
    /// `Keep-Alive` header field.
    pub(crate) fn put(
        self: &Arc<Self>,
        site: Site,
        connection: Connection,
        announced: Option<Duration>,
    ) {
        let now = Instant::now();
        // If a request is sent while the site closes the connection, the outcome of the request is
        // unknown. The client therefore closes an idle connection before the site closes it.
        let announced = announced.map(|time| time.saturating_sub(Duration::from_secs(1)));
        let until = now + announced.unwrap_or(Duration::MAX).min(self.idle_timeout);
        let idle = Idle {
            connection,
            since: now,
            until,
        };
        if !idle.is_usable(now) {
            return;
        }
        let mut state = self.state();
        let idles = state.idle.entry(site).or_default();
        if idles.len() >= self.max_idle_per_site {
            // The connection that has been idle for longest.
            idles.remove(0);
        }
        idles.push(idle);
        state.limit(self.max_idle);
        if !state.is_swept {
            state.is_swept = true;
            self.sweep_while_used();
        }
    }

    fn sweep_while_used(self: &Arc<Self>) {
        let pool = Arc::downgrade(self);
        spawn(async move {
            loop {
                sleep(SWEEP_INTERVAL).await;
                let Some(pool) = pool.upgrade() else { return };
                let mut state = pool.state();
                let now = Instant::now();
                state.idle.retain(|_, idles| {
                    idles.retain(|idle| idle.is_usable(now));
                    !idles.is_empty()
                });
                if state.idle.is_empty() {
                    state.is_swept = false;
                    return;
                }
            }
        });
    }
}
