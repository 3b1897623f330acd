//! Limits on the number of exchanges: in total, for each site and for each session.

mod gates;

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use self::gates::{Gates, Held, Watched};
use crate::site::Site;

/// Limits of the exchanges of one process.
#[derive(Debug, Clone)]
pub struct BoundsSettings {
    /// Maximum number of exchanges, including those that wait for a place. A quarter of it may be
    /// under way to one site, and another quarter may wait for it.
    pub max_in_flight: usize,
    /// Maximum number of exchanges of one session. Further exchanges wait in order of arrival.
    pub session_concurrency: usize,
    /// Maximum number of exchanges of one session that wait.
    pub session_waiting: usize,
    /// Maximum time to wait for a place.
    pub wait: Duration,
}

impl Default for BoundsSettings {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            session_concurrency: 6,
            session_waiting: 8,
            wait: Duration::from_secs(2),
        }
    }
}

/// Error: there is no place for another exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Busy {
    /// As many exchanges as allowed are under way in total.
    #[error("too many requests to sites are under way")]
    All,
    /// As many exchanges as allowed are under way to the site.
    #[error("too many requests to this site are under way")]
    Site,
    /// As many exchanges as allowed are under way for the session.
    #[error("too many requests of this session are under way")]
    Session,
}

/// Counts the exchanges of a process. All clients of the process share one `Bounds`.
#[derive(Debug, Clone)]
pub struct Bounds {
    all: Arc<Semaphore>,
    sites: Arc<Gates<Site>>,
    sessions: Arc<Gates<Box<str>>>,
    max_in_flight: usize,
    wait: Duration,
}

/// Permission to take part in the gateway, within the limit in total.
#[derive(Debug)]
#[must_use = "the place is free again when this value is dropped"]
pub struct Admission {
    _permit: OwnedSemaphorePermit,
}

/// Place of one exchange within all limits. The place is free again when the value is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this value is dropped"]
pub struct Place {
    _admission: Admission,
    _site: Held<Site>,
    _session: Held<Box<str>>,
    has_waited: bool,
}

/// Notices exchanges of a session that end. What the caller has read about the session since the
/// value was created is outdated then.
#[derive(Debug)]
pub struct Watch(Watched<Box<str>>);

impl Watch {
    /// Returns `true` if an exchange of the session has ended since the value was created.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.0.has_changed()
    }
}

impl Place {
    /// Returns `true` if the place was not free at once. What the caller knew about the session
    /// before may be outdated.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl Bounds {
    /// Creates the limits of a process.
    #[must_use]
    pub fn new(settings: BoundsSettings) -> Self {
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

    /// Counts an exchange within the limit in total. Does not wait.
    ///
    /// # Errors
    /// Fails with [`Busy::All`] if the limit is reached.
    pub fn admit(&self) -> Result<Admission, Busy> {
        let permit = Arc::clone(&self.all).try_acquire_owned();
        permit
            .map(|_permit| Admission { _permit })
            .map_err(|_| Busy::All)
    }

    /// Notices the exchanges of the session `session` that end from now on.
    #[must_use]
    pub fn watch(&self, session: &str) -> Watch {
        Watch(self.sessions.watch(session.into()))
    }

    /// Waits for a place for an exchange of the session `session` with `site`. Exchanges of one
    /// session get their places in order of arrival.
    ///
    /// # Errors
    /// Fails if there is no place in time, or if too many exchanges already wait.
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

    /// Returns the number of exchanges that are under way or wait.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.max_in_flight - self.all.available_permits()
    }
}

#[cfg(test)]
mod tests;
