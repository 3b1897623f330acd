//! When the answer to a request is due.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest};
use tee_session_domain::{RepositoryError, SessionError};
use tokio::time::{Instant, timeout_at};

/// An extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    within: Duration,
}

impl Deadline {
    /// For a request that was read at `read`.
    pub(crate) fn within(within: Duration, read: Instant) -> Self {
        let at = read + within;
        Self { at, within }
    }

    /// A request whose body took its time was read only when that was there.
    pub(crate) fn start_anew(request: &HttpRequest) {
        if let Some(deadline) = request.extensions_mut().get_mut::<Self>() {
            *deadline = Self::within(deadline.within, Instant::now());
        }
    }

    /// Bounds what takes several calls of the repository, each of which has a bound of its own.
    pub(crate) async fn bound<T, E: From<SessionError>>(
        request: &HttpRequest,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let deadline = request.extensions().get::<Self>().copied();
        match deadline {
            Some(Self { at, .. }) => end_by(at, call).await,
            None => call.await,
        }
    }
}

/// Gives a call of the repository up when its time is over: nobody knows then what it did.
pub(crate) async fn end_by<T, E: From<SessionError>>(
    at: Instant,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout_at(at, call).await.unwrap_or_else(|_| {
        let reason = "no answer before the request's deadline";
        Err(SessionError::from(RepositoryError::unavailable(reason)).into())
    })
}
