//! Why a request is not let through, and the one place here that picks a status.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use tee_session_domain::{ErrorChain, RepositoryError, SessionError};
use thiserror::Error;

use crate::{Challenge, ProblemDetails, failure_log::FailureLog};

/// Seconds after which a client may try again: when the store is away, or when it sent too many
/// invalid tokens (at least one a second is answered as such).
const RETRY_AFTER: u32 = 1;

/// The code of an answer to a token that opens nothing.
pub(crate) const INVALID_TOKEN: &str = "invalid_token";

static FAILURES: FailureLog = FailureLog::new();

/// A request is not let through.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It carries no bearer token.
    #[error("no bearer token")]
    MissingToken,
    /// Its `Authorization` cannot be read; the text says what is wrong, without repeating it.
    #[error("unreadable credentials: {0}")]
    InvalidRequest(&'static str),
    /// Its token opens nothing. Malformed, unknown, expired, deleted and corrupt look the same.
    #[error("invalid or expired session token")]
    InvalidToken,
    /// The client has tried too many invalid tokens lately, and this is another one.
    #[error("too many invalid session tokens")]
    TooManyInvalidTokens,
    /// Others kept changing the session meanwhile; nothing was changed for this request.
    #[error("the session kept changing meanwhile")]
    Contended,
    /// Nobody can know now whether its token opens something.
    #[error("sessions cannot be looked up")]
    Store(#[source] RepositoryError),
}

impl From<SessionError> for AuthError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Repository(RepositoryError::Corrupt { .. }) | SessionError::NotFound => {
                Self::InvalidToken
            }
            SessionError::Contended => Self::Contended,
            SessionError::Repository(error) => Self::Store(error),
            // Whatever comes later is no proof that a session is gone.
            error => Self::Store(RepositoryError::unavailable(error)),
        }
    }
}

impl AuthError {
    /// The answer.
    #[must_use]
    pub fn problem(&self) -> ProblemDetails {
        match self {
            Self::MissingToken => ProblemDetails::new(
                StatusCode::UNAUTHORIZED,
                "missing_token",
                "A bearer token is required in the Authorization header field",
            )
            .with_challenge(Challenge::Bearer),
            Self::InvalidRequest(detail) => {
                ProblemDetails::new(StatusCode::BAD_REQUEST, "invalid_request", *detail)
                    .with_challenge(Challenge::InvalidRequest)
            }
            Self::InvalidToken => ProblemDetails::new(
                StatusCode::UNAUTHORIZED,
                INVALID_TOKEN,
                "Invalid or expired session token",
            )
            .with_challenge(Challenge::InvalidToken),
            Self::TooManyInvalidTokens => ProblemDetails::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many invalid session tokens came from this address",
            )
            .with_retry_after(RETRY_AFTER),
            Self::Contended => ProblemDetails::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Others kept changing the session meanwhile; nothing was changed",
            )
            .with_retry_after(RETRY_AFTER),
            Self::Store(_) => ProblemDetails::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "The session store is unavailable; the session may still be alive",
            )
            .with_retry_after(RETRY_AFTER),
        }
    }

    /// Logs a failure of the store, for who answers with [`problem`](Self::problem) and so handles
    /// it; of an outage one line a second.
    pub fn log_failure(&self) {
        if let Self::Store(error) = self
            && let Some(unlogged) = FAILURES.next()
        {
            tracing::error!(
                error = %ErrorChain(error),
                unlogged,
                "Request failed: session store unavailable"
            );
        }
    }
}

impl ResponseError for AuthError {
    fn status_code(&self) -> StatusCode {
        self.problem().status()
    }

    /// Logs a failure of the store: here it is handled.
    fn error_response(&self) -> HttpResponse {
        self.log_failure();
        self.problem().response()
    }
}
