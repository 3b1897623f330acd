//! Deadlines for the responses to requests.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest};
use tee_session_domain::{RepositoryError, SessionError};
use tokio::time::{Instant, timeout_at};

/// Deadline for the response to a request. The middleware puts a `Deadline` into the
/// extensions of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    /// Extends the deadline of `request` by `body_time`, the time that the client took to send the
    /// body. A slow client therefore does not reduce the time that is left for the store.
    pub(crate) fn extend(request: &HttpRequest, body_time: Duration) {
        if let Some(Self(deadline)) = request.extensions_mut().get_mut() {
            *deadline += body_time;
        }
    }

    /// Returns the time at which the response to `request` is due. Returns `None` if the request
    /// has not passed the middleware that sets the deadline.
    pub(crate) fn of(request: &HttpRequest) -> Option<Instant> {
        request.extensions().get::<Self>().map(|Self(at)| *at)
    }

    /// Returns the error of a request whose deadline has passed. The repository call that was
    /// aborted at the deadline may still have taken effect in the store.
    pub(crate) fn exceeded() -> SessionError {
        RepositoryError::unavailable("no reply before the deadline of the request").into()
    }

    /// Runs `call`, and aborts `call` at the deadline of `request`. Used for operations that
    /// consist of several repository calls: each call has a timeout of its own, but the operation
    /// as a whole has none.
    pub(crate) async fn bound<T, E: From<SessionError>>(
        request: &HttpRequest,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match Self::of(request) {
            Some(at) => abort_at(at, call).await,
            None => call.await,
        }
    }
}

/// Runs `call`. If `call` has not completed at the time `at`, aborts `call` and returns
/// [`RepositoryError::Unavailable`]. The aborted call may still have taken effect in the store.
pub(crate) async fn abort_at<T, E: From<SessionError>>(
    at: Instant,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout_at(at, call)
        .await
        .unwrap_or_else(|_| Err(Deadline::exceeded().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn never() -> Result<(), SessionError> {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_exceeds_the_deadline_fails_with_unavailable() {
        let started = Instant::now();
        let limit = Duration::from_secs(5);
        let error = abort_at(started + limit, never()).await.unwrap_err();
        let is_unavailable = matches!(
            error,
            SessionError::Repository(RepositoryError::Unavailable { .. })
        );
        assert!(is_unavailable, "{error:?}");
        assert_eq!(started.elapsed(), limit);
    }

    #[tokio::test(start_paused = true)]
    async fn time_to_receive_the_request_body_extends_the_deadline() {
        let request = actix_web::test::TestRequest::default().to_http_request();
        let started = Instant::now();
        let deadline = Deadline(started + Duration::from_secs(1));
        request.extensions_mut().insert(deadline);
        Deadline::extend(&request, Duration::from_secs(2));
        assert!(Deadline::bound(&request, never()).await.is_err());
        assert_eq!(started.elapsed(), Duration::from_secs(3));
    }
}
