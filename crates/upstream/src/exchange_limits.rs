//! Limits on concurrent exchanges (a request to a site and its answer): in total, for each site,
//! and for each session.

mod gates;

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use self::gates::{Gates, Held, Watched};
use crate::site::Site;

/// Settings of the limits on concurrent exchanges in one process.
#[derive(Debug, Clone)]
pub struct ExchangeLimitSettings {
    /// Maximum number of exchanges in total, including those that wait for a permit. With one site,
    /// at most a quarter of this number of exchanges may run. Another quarter may wait.
    pub max_in_flight: usize,
    /// Maximum number of running exchanges of one session. Further exchanges wait in order of
    /// arrival.
    pub session_concurrency: usize,
    /// Maximum number of exchanges of one session that wait for a permit. Further exchanges fail at
    /// once with [`Busy::Session`].
    pub session_waiting: usize,
    /// Maximum time that an exchange waits for a permit.
    pub wait: Duration,
}

impl Default for ExchangeLimitSettings {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            session_concurrency: 6,
            session_waiting: 8,
            wait: Duration::from_secs(2),
        }
    }
}

/// Error: a limit on concurrent exchanges is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Busy {
    /// The limit on all concurrent exchanges of the process is reached.
    #[error("too many requests to sites are under way")]
    All,
    /// The limit on concurrent exchanges with the site is reached.
    #[error("too many requests to this site are under way")]
    Site,
    /// The limit on concurrent exchanges of the session is reached.
    #[error("too many requests of this session are under way")]
    Session,
}

/// Limits on the concurrent exchanges of a process. All [`Client`](crate::Client)s of the process
/// share one `ExchangeLimits`.
#[derive(Debug, Clone)]
pub struct ExchangeLimits {
    all: Arc<Semaphore>,
    sites: Arc<Gates<Site>>,
    sessions: Arc<Gates<Box<str>>>,
    max_in_flight: usize,
    wait: Duration,
}

/// Permit that counts towards the limit on the exchanges of the whole process, but not towards the
/// limits of a site or a session. An exchange with a site needs a [`Place`], which counts towards
/// all three limits.
#[derive(Debug)]
#[must_use = "the place is free again when this value is dropped"]
pub struct Admission {
    _permit: OwnedSemaphorePermit,
}

/// Permit for one exchange, which counts towards all limits. Dropping the value releases the
/// permit.
#[derive(Debug)]
#[must_use = "the place is free again when this value is dropped"]
pub struct Place {
    _admission: Admission,
    _site: Held<Site>,
    _session: Held<Box<str>>,
    has_waited: bool,
}

/// Detects that an exchange of a session has ended. Session data that was loaded before may then
/// lack the cookies of that exchange.
#[derive(Debug)]
pub struct Watch(Watched<Box<str>>);

impl Watch {
    /// Returns `true` if an exchange of the session has ended since this value was created.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.0.has_changed()
    }
}

impl Place {
    /// Returns `true` if the caller had to wait for the permit. Session data that was loaded before
    /// the wait may be outdated.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl ExchangeLimits {
    /// Creates the limits on concurrent exchanges from `settings`. All
    /// [`Client`](crate::Client)s of a process must share one `ExchangeLimits`.
    #[must_use]
    pub fn new(settings: ExchangeLimitSettings) -> Self {
        let max_in_flight = settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let per_site = (max_in_flight / 4).max(1);
        let sessions = Gates::new(
            settings.session_concurrency.max(1),
            settings.session_waiting,
        );
        Self {
            all: Arc::new(Semaphore::new(max_in_flight)),
            sites: Gates::new(per_site, per_site),
            sessions,
            max_in_flight,
            wait: settings.wait,
        }
    }

    /// Counts an exchange towards the limit on all exchanges. Does not wait.
    ///
    /// # Errors
    /// Fails with [`Busy::All`] if the limit is reached.
    pub fn admit(&self) -> Result<Admission, Busy> {
        let permit = Arc::clone(&self.all).try_acquire_owned();
        permit
            .map(|_permit| Admission { _permit })
            .map_err(|_| Busy::All)
    }

    /// Returns a [`Watch`], which detects that an exchange of the session `session` has ended after
    /// this call.
    #[must_use]
    pub fn watch(&self, session: &str) -> Watch {
        Watch(self.sessions.watch(session.into()))
    }

    /// Waits until the limits allow one more exchange of the session `session` with `site`, and
    /// returns the permit. Exchanges of one session get their permits in order of arrival.
    ///
    /// # Errors
    /// Fails if there is no permit in time, or if too many exchanges already wait.
    pub async fn place(
        &self,
        admission: Admission,
        site: &Site,
        session: &str,
    ) -> Result<Place, Busy> {
        let until = Instant::now() + self.wait;
        let session = self.sessions.enter(session.into(), until).await;
        let session = session.ok_or(Busy::Session)?;
        let site = self.sites.enter(site.without_final_dot(), until).await;
        let site = site.ok_or(Busy::Site)?;
        Ok(Place {
            has_waited: session.has_waited() || site.has_waited(),
            _admission: admission,
            _site: site,
            _session: session,
        })
    }

    /// Returns the number of exchanges that are running or waiting.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.max_in_flight - self.all.available_permits()
    }
}

#[cfg(test)]
mod tests;
