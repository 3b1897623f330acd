//! Extractor for the session of a request that [`BearerAuth`](crate::BearerAuth) let through.

use std::{
    future::{Ready, ready},
    ops::Deref,
    rc::Rc,
};

use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, dev::Payload, error};
use tee_session_domain::{ActiveSession, LogLimit, SessionId, SessionToken};

use crate::AuthError;

static UNWRAPPED: LogLimit = LogLimit::per_second(1);

/// The session of the request's bearer token, as an extractor for handlers behind
/// [`BearerAuth`](crate::BearerAuth).
///
/// Behind [`BearerAuth::optional`](crate::BearerAuth::optional), use `Option<CurrentSession>`.
///
/// `CurrentSession` dereferences to [`ActiveSession`], so a handler can read
/// `current.session.cookies` and `current.expires_at`.
#[derive(Debug, Clone)]
pub struct CurrentSession(Rc<Inner>);

/// Marks a request without a token that `BearerAuth::optional` let through. The mark is part of the
/// extensions of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anonymous;

#[derive(Debug)]
struct Inner {
    token: SessionToken,
    active: ActiveSession,
}

impl CurrentSession {
    pub(crate) fn new(token: SessionToken, active: ActiveSession) -> Self {
        Self(Rc::new(Inner { token, active }))
    }

    /// Returns the bearer token of the request.
    #[must_use]
    pub fn token(&self) -> &SessionToken {
        &self.0.token
    }

    /// Returns the id of the session. The id is derived from the token and is not secret.
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
        let extensions = request.extensions();
        if extensions.contains::<Anonymous>() {
            return ready(Err(AuthError::MissingToken.into()));
        }
        let current = extensions.get::<Self>().cloned();
        ready(current.ok_or_else(|| {
            // The reason is for the developer of the service. Clients must not see it.
            UNWRAPPED.log(|unlogged| {
                tracing::error!(
                    unlogged,
                    "CurrentSession is used on a route that BearerAuth does not wrap"
                );
            });
            error::ErrorInternalServerError("Internal error")
        }))
    }
}
