//! When the answer to a request is due.

use actix_web::{HttpMessage, HttpRequest};
use tee_session_domain::{RepositoryError, SessionError};
use tokio::time::{Instant, timeout_at};

/// An extension of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    /// Bounds what takes several calls of the repository, each of which has a bound of its own.
    pub(crate) async fn bound<T>(
        request: &HttpRequest,
        call: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        let deadline = request.extensions().get::<Self>().copied();
        let Some(Self(deadline)) = deadline else {
            return call.await;
        };
        let answered = timeout_at(deadline, call).await;
        answered.unwrap_or_else(|_| {
            Err(RepositoryError::unavailable("no answer before the request's deadline").into())
        })
    }
}
