//! Limits for request bodies that are still arriving. A client that sends slowly must not use up
//! the memory or the request limit that other clients need.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tee_session_domain::SessionId;

use crate::request::service_client::ClientId;

/// Divisor of each limit for request bodies that are still arriving. The requests of one credential
/// may use at most this share (one eighth) of the limit.
const SHARE_OF_ONE_CREDENTIAL: usize = 8;

/// The valid credential of a request whose body is still arriving. If there are no service clients,
/// all callers of the endpoints for service clients share one credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Credential {
    Session(SessionId),
    ServiceClient(ClientId),
}

/// Counts the request bodies that are still arriving, and their bytes, in total and for each
/// credential. All worker threads share one `BodiesUnderWay`.
#[derive(Debug)]
pub(crate) struct BodiesUnderWay {
    max: Held,
    held: Mutex<Account>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Held {
    bodies: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Account {
    all: Held,
    of_sessions: Held,
    by_credential: HashMap<Credential, Held>,
}

impl Held {
    fn fits(self, max: Self) -> bool {
        self.bodies <= max.bodies && self.bytes <= max.bytes
    }

    fn half(self) -> Self {
        Self {
            bodies: self.bodies.div_ceil(2),
            bytes: self.bytes.div_ceil(2),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            bodies: self.bodies + other.bodies,
            bytes: self.bytes + other.bytes,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            bodies: self.bodies - other.bodies,
            bytes: self.bytes - other.bytes,
        }
    }
}

impl BodiesUnderWay {
    /// Creates the limits: at most `max_bodies` bodies with at most `max_bytes` bytes together.
    pub(crate) fn new(max_bodies: usize, max_bytes: usize) -> Self {
        Self {
            max: Held {
                bodies: max_bodies,
                bytes: max_bytes,
            },
            held: Mutex::default(),
        }
    }

    /// Counts a new body of which `bytes` bytes have already arrived. Returns `None` if the body
    /// would exceed a limit.
    pub(crate) fn begin(self: &Arc<Self>, credential: Credential, bytes: usize) -> Option<Body> {
        let mut body = Body {
            bodies: Arc::clone(self),
            credential,
            held: Held::default(),
        };
        body.add(Held { bodies: 1, bytes }).then_some(body)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request body that is still arriving. The body is counted until this value is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    bodies: Arc<BodiesUnderWay>,
    credential: Credential,
    held: Held,
}

impl Body {
    /// Counts `bytes` further bytes of the body. Returns `false` if these bytes would exceed a
    /// limit.
    pub(crate) fn received(&mut self, bytes: usize) -> bool {
        self.add(Held { bodies: 0, bytes })
    }

    fn add(&mut self, more: Held) -> bool {
        let max = self.bodies.max;
        let share = Held {
            bodies: max.bodies.div_ceil(SHARE_OF_ONE_CREDENTIAL),
            bytes: max.bytes.div_ceil(SHARE_OF_ONE_CREDENTIAL),
        };
        let mut account = self.bodies.account();
        let own = account.by_credential.get(&self.credential);
        let own = own.copied().unwrap_or_default().plus(more);
        let all = account.all.plus(more);
        if !all.fits(max) || !own.fits(share) {
            return false;
        }
        if let Credential::Session(_) = self.credential {
            let of_sessions = account.of_sessions.plus(more);
            // Sessions may use only half of the limit. Otherwise a person with eight sessions could
            // use all of it, and service clients could not send logins.
            if !of_sessions.fits(max.half()) {
                return false;
            }
            account.of_sessions = of_sessions;
        }
        account.all = all;
        account.by_credential.insert(self.credential.clone(), own);
        self.held = self.held.plus(more);
        true
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut account = self.bodies.account();
        account.all = account.all.minus(self.held);
        if let Credential::Session(_) = self.credential {
            account.of_sessions = account.of_sessions.minus(self.held);
        }
        if let Some(own) = account.by_credential.get_mut(&self.credential) {
            *own = own.minus(self.held);
            if *own == Held::default() {
                account.by_credential.remove(&self.credential);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tee_session_domain::SessionToken;

    use super::*;

    fn bodies() -> Arc<BodiesUnderWay> {
        Arc::new(BodiesUnderWay::new(16, 1_600))
    }

    fn client(id: &str) -> Credential {
        Credential::ServiceClient(ClientId::from(id))
    }

    #[test]
    fn arriving_bodies_of_one_credential_are_limited_to_an_eighth_of_the_total_limit() {
        let bodies = bodies();
        let held: Vec<_> = (0..2).map(|_| bodies.begin(client("a"), 0)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(bodies.begin(client("a"), 0).is_none());
        assert!(bodies.begin(client("b"), 0).is_some());
    }

    #[test]
    fn arriving_bytes_of_one_credential_are_limited_to_an_eighth_of_the_total_limit() {
        let bodies = bodies();
        let mut body = bodies.begin(client("a"), 150).unwrap();
        assert!(body.received(50));
        assert!(!body.received(1));
        assert!(bodies.begin(client("b"), 200).is_some());
    }

    #[test]
    fn arriving_bodies_of_all_credentials_are_limited_to_the_total_limit() {
        let bodies = bodies();
        let ids: Vec<_> = (0..17).map(|n| n.to_string()).collect();
        let held: Vec<_> = ids[..16]
            .iter()
            .map(|id| bodies.begin(client(id), 0))
            .collect();
        assert!(held.iter().all(Option::is_some));
        assert!(bodies.begin(client(&ids[16]), 0).is_none());
        drop(held);
        assert!(bodies.begin(client(&ids[16]), 0).is_some());
    }

    #[test]
    fn arriving_bodies_of_all_sessions_are_limited_to_half_of_the_total_limit() {
        let bodies = bodies();
        let session = || Credential::Session(SessionId::of(&SessionToken::generate()));
        let held: Vec<_> = (0..8).map(|_| bodies.begin(session(), 0)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(bodies.begin(session(), 0).is_none());
        assert!(bodies.begin(client("a"), 0).is_some());
        drop(held);
        assert!(bodies.begin(session(), 0).is_some());
    }

    #[test]
    fn dropped_body_is_no_longer_counted() {
        let bodies = bodies();
        let mut body = bodies.begin(client("a"), 10).unwrap();
        assert!(body.received(10));
        drop(body);
        let account = bodies.account();
        assert_eq!(account.all, Held::default());
        assert!(account.by_credential.is_empty());
    }
}
