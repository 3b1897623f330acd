//! When the answer to a request is due.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest};
use tee_session_domain::{RepositoryError, SessionError};
use tokio::time::{Instant, timeout_at};

/// An extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    /// The time that a client took to send its body is not the store's.
    pub(crate) fn put_off(request: &HttpRequest, waited: Duration) {
        if let Some(Self(deadline)) = request.extensions_mut().get_mut() {
            *deadline += waited;
        }
    }

    /// Bounds what takes several calls of the repository, each of which has a bound of its own.
    pub(crate) async fn bound<T, E: From<SessionError>>(
        request: &HttpRequest,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let deadline = request.extensions().get::<Self>().copied();
        match deadline {
            Some(Self(at)) => end_by(at, call).await,
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn never() -> Result<(), SessionError> {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up_as_unavailable() {
        let started = Instant::now();
        let limit = Duration::from_secs(5);
        let error = end_by(started + limit, never()).await.unwrap_err();
        let is_unavailable = matches!(
            error,
            SessionError::Repository(RepositoryError::Unavailable { .. })
        );
        assert!(is_unavailable, "{error:?}");
        assert_eq!(started.elapsed(), limit);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_body_took_is_given_to_the_call() {
        let request = actix_web::test::TestRequest::default().to_http_request();
        let started = Instant::now();
        let deadline = Deadline(started + Duration::from_secs(1));
        request.extensions_mut().insert(deadline);
        Deadline::put_off(&request, Duration::from_secs(2));
        assert!(Deadline::bound(&request, never()).await.is_err());
        assert_eq!(started.elapsed(), Duration::from_secs(3));
    }
}
