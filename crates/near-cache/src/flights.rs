//! Readings under way: whoever asks for the same session meanwhile waits for the answer.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tee_session_domain::{Session, TokenHash};
use tokio::sync::watch;

use crate::{channel::Moment, token_hasher::TokenHasher, versions::Seen};

/// A reading may be joined for so long. Who joins one that slides has slid by so much too early,
/// which the clock error that the touch interval allows for covers.
const JOINED_WITHIN: Duration = Duration::from_millis(250);

/// What a reading must be for somebody.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: TokenHash,
    /// For how long it lets the session live, if it slides.
    pub(crate) ttl: Option<Duration>,
    pub(crate) epoch: u64,
    pub(crate) seen: Seen,
    pub(crate) now: Moment,
}

/// All that are under way.
#[derive(Default)]
pub(crate) struct Flights {
    by_name: Mutex<HashMap<TokenHash, Flight, BuildHasherDefault<TokenHasher>>>,
}

struct Flight {
    wanted: Wanted,
    landed: watch::Receiver<Option<Landed>>,
}

/// What the store said.
type Landed = Option<Session>;

/// How one gets a session that is not near.
pub(crate) enum Boarding<'a> {
    /// By reading it, for all who join.
    Lead(Leader<'a>),
    /// By waiting for somebody who is reading it.
    Join(Passenger),
}

impl Flights {
    /// Joins a reading that is as good as one that begins now, or leads a new one.
    pub(crate) fn board(&self, wanted: Wanted) -> Boarding<'_> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&wanted.name)
            && flight.is_as_good_as(&wanted)
        {
            return Boarding::Join(Passenger(flight.landed.clone()));
        }
        let (land, landed) = watch::channel(None);
        let name = wanted.name;
        flights.insert(name, Flight { wanted, landed });
        Boarding::Lead(Leader {
            flights: self,
            name,
            land,
        })
    }

    /// What is under way for this session began before something that whoever asks from now on must
    /// see.
    pub(crate) fn forget(&self, name: TokenHash) {
        self.lock().remove(&name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Flight, BuildHasherDefault<TokenHasher>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn is_as_good_as(&self, wanted: &Wanted) -> bool {
        self.wanted.epoch == wanted.epoch
            && self.wanted.seen == wanted.seen
            && self.wanted.ttl >= wanted.ttl
            && wanted.now < self.wanted.now.after(JOINED_WITHIN)
    }
}

/// Reads. If it is dropped without a landing, those who joined look for another one.
pub(crate) struct Leader<'a> {
    flights: &'a Flights,
    name: TokenHash,
    land: watch::Sender<Option<Landed>>,
}

impl Leader<'_> {
    /// Tells all who joined what the store said.
    pub(crate) fn land(self, session: Option<Session>) {
        self.land.send_replace(Some(session));
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Another one may lead by now.
        let is_own = flights
            .get(&self.name)
            .is_some_and(|flight| flight.landed.same_channel(&self.land.subscribe()));
        if is_own {
            flights.remove(&self.name);
        }
    }
}

/// Waits.
pub(crate) struct Passenger(watch::Receiver<Option<Landed>>);

impl Passenger {
    /// What the store said; `None` when whoever read gave up, or got no answer.
    pub(crate) async fn landed(mut self) -> Option<Landed> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}
