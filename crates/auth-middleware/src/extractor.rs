//! The session of the request at hand.

use std::{
    future::{Ready, ready},
    ops::Deref,
    rc::Rc,
};

use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, dev::Payload, error};
use tee_session_domain::{ActiveSession, SessionId, SessionToken};

/// The session that the request's token opened: an extractor for handlers behind
/// [`BearerAuth`](crate::BearerAuth).
///
/// It dereferences to [`ActiveSession`]: `current.session.cookies`, `current.expires_at`.
#[derive(Debug, Clone)]
pub struct CurrentSession(Rc<Opened>);

#[derive(Debug)]
struct Opened {
    token: SessionToken,
    active: ActiveSession,
}

impl CurrentSession {
    pub(crate) fn new(token: SessionToken, active: ActiveSession) -> Self {
        Self(Rc::new(Opened { token, active }))
    }

    /// The token that opened it.
    #[must_use]
    pub fn token(&self) -> &SessionToken {
        &self.0.token
    }

    /// Its public name, derived from the token.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        SessionId::of(&self.0.token)
    }
}

impl Deref for CurrentSession {
    type Target = ActiveSession;

    fn deref(&self) -> &ActiveSession {
        &self.0.active
    }
}

impl FromRequest for CurrentSession {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let current = request.extensions().get::<Self>().cloned();
        ready(current.ok_or_else(|| {
            tracing::error!("CurrentSession is used on a route that BearerAuth does not wrap");
            error::ErrorInternalServerError("Internal error")
        }))
    }
}
