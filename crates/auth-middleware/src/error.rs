//! Errors of authentication and of sessions, and their conversion to HTTP responses. Only this
//! module converts errors of the session store to problem details (RFC 9457).

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use tee_session_domain::{ErrorChain, LogLimit, RepositoryError, SessionError};
use thiserror::Error;

use crate::{Challenge, ProblemCode, ProblemDetails};

/// Value of the `Retry-After` header field in seconds, for transient errors and for clients over
/// the limit of invalid tokens. For clients over the limit, one second is enough: a limit made by
/// `InvalidTokenLimit::per_second` allows at least one more invalid token per second.
const RETRY_AFTER: u32 = 1;

static UNAVAILABLE: LogLimit = LogLimit::per_second(1);
static MISCONFIGURED: LogLimit = LogLimit::per_second(1);
static FULL: LogLimit = LogLimit::per_second(1);
static CORRUPT_INDEX: LogLimit = LogLimit::per_second(1);

/// Reason why a request is rejected: its authentication failed, or the session manager failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request has no bearer token.
    #[error("the request carries no bearer token")]
    MissingToken,
    /// The credentials are malformed or repeated. The text describes the fault and never quotes the
    /// request.
    #[error("malformed or repeated credentials: {0}")]
    InvalidRequest(&'static str),
    /// The token has no valid session. The response is the same for malformed, unknown, expired and
    /// deleted tokens, and if the stored record of the token is corrupt.
    #[error("invalid or expired session token")]
    InvalidToken,
    /// The token is invalid, and the client is over the limit of invalid tokens.
    #[error("the client sent too many invalid session tokens")]
    TooManyInvalidTokens,
    /// The session manager failed, for example because the session store is unavailable.
    #[error(transparent)]
    Session(SessionError),
}

impl From<SessionError> for AuthError {
    fn from(error: SessionError) -> Self {
        if error.proves_invalid_token() {
            Self::InvalidToken
        } else {
            Self::Session(error)
        }
    }
}

impl AuthError {
    /// Returns the problem details for the response to the rejected request.
    #[must_use]
    pub fn problem(&self) -> ProblemDetails {
        match self {
            Self::MissingToken => ProblemDetails::new(
                ProblemCode::MISSING_TOKEN,
                "A bearer token is required: send the header field Authorization with Bearer, a space \
                 and the token",
            )
            .with_challenge(Challenge::Bearer),
            Self::InvalidRequest(detail) => {
                ProblemDetails::new(ProblemCode::INVALID_REQUEST, *detail)
                    .with_challenge(Challenge::InvalidRequest)
            }
            Self::InvalidToken => ProblemDetails::new(
                ProblemCode::INVALID_TOKEN,
                "Invalid or expired session token",
            )
            .with_challenge(Challenge::InvalidToken),
            Self::TooManyInvalidTokens => ProblemDetails::new(
                ProblemCode::TOO_MANY_REQUESTS,
                "Too many invalid session tokens came from this address",
            )
            .with_retry_after(RETRY_AFTER),
            Self::Session(error) => problem_of_session(error),
        }
    }

    /// Logs the error if the session store failed. Other errors are not logged. There are four
    /// kinds of faults: an unavailable store, a misconfigured store, a full store, and a corrupt
    /// index of a subject. For each kind, at most one line per second is logged.
    ///
    /// Call this method if you send the response of [`problem`](Self::problem) yourself.
    /// `error_response` calls this method automatically.
    pub fn log_failure(&self) {
        let Self::Session(error) = self else { return };
        let code = problem_of_session(error).code();
        let failures = match code {
            ProblemCode::STORE_MISCONFIGURED => &MISCONFIGURED,
            ProblemCode::STORE_FULL => &FULL,
            ProblemCode::INTERNAL_ERROR => &CORRUPT_INDEX,
            // Such a problem is not logged: the client caused it, or only has to try again.
            ProblemCode::OVERLOADED => return,
            code if !code.status().is_server_error() => return,
            _ => &UNAVAILABLE,
        };
        let error = ErrorChain(error);
        failures.log(|unlogged| match code {
            ProblemCode::STORE_MISCONFIGURED => {
                tracing::error!(%error, unlogged, "Request failed: session store misconfigured");
            }
            ProblemCode::STORE_FULL => {
                tracing::error!(%error, unlogged, "Request failed: session store full");
            }
            ProblemCode::INTERNAL_ERROR => {
                tracing::error!(%error, unlogged, "Request failed: subject index corrupt");
            }
            _ => tracing::error!(%error, unlogged, "Request failed: session store unavailable"),
        });
    }
}

/// Returns the problem details for an error of the session manager. The status is 401 only if the
/// error proves that the token has no usable session. A failure of the store is answered with 503,
/// and a corrupt index of a subject with 500.
fn problem_of_session(error: &SessionError) -> ProblemDetails {
    match error {
        error if error.proves_invalid_token() => AuthError::InvalidToken.problem(),
        SessionError::TooManySessions => ProblemDetails::new(
            ProblemCode::SESSION_LIMIT_REACHED,
            "The subject has reached its session limit; end one of its sessions first",
        ),
        SessionError::OperationInProgress => ProblemDetails::new(
            ProblemCode::IDEMPOTENCY_IN_PROGRESS,
            "A request with the same Idempotency-Key is still running; repeat the request",
        )
        .with_retry_after(RETRY_AFTER),
        SessionError::IdempotencyKeyReused => ProblemDetails::new(
            ProblemCode::IDEMPOTENCY_KEY_REUSED,
            "The Idempotency-Key was used for a request with another body. Nothing was changed; use \
             a new key for each request",
        ),
        SessionError::Contended => ProblemDetails::new(
            ProblemCode::OVERLOADED,
            "Other requests kept changing the session. Nothing was changed; retry the request",
        )
        .with_retry_after(RETRY_AFTER),
        SessionError::Repository(RepositoryError::Full { .. }) => ProblemDetails::new(
            ProblemCode::STORE_FULL,
            "The session store is full; try again later",
        )
        .with_retry_after(RETRY_AFTER),
        // A retry does not help, so there is no `Retry-After`.
        SessionError::Repository(RepositoryError::Misconfigured { .. }) => ProblemDetails::new(
            ProblemCode::STORE_MISCONFIGURED,
            "The session store refuses an operation that this request needs. Retrying does not help; an \
             operator must grant the missing permission or command",
        ),
        SessionError::Repository(RepositoryError::CorruptIndex { .. }) => ProblemDetails::new(
            ProblemCode::INTERNAL_ERROR,
            "The index of the subject's sessions is corrupt. Retrying does not help; an operator \
             must delete the index, which keeps the sessions",
        ),
        // Errors that a later version adds are also treated as an unavailable store, because they
        // do not prove that the session does not exist.
        _ => ProblemDetails::new(
            ProblemCode::STORE_UNAVAILABLE,
            "The session store is unavailable; the session may still be alive",
        )
        .with_retry_after(RETRY_AFTER),
    }
}

impl ResponseError for AuthError {
    fn status_code(&self) -> StatusCode {
        self.problem().status()
    }

    /// Logs the error if the session store failed, and returns the error response.
    fn error_response(&self) -> HttpResponse {
        self.log_failure();
        self.problem().response()
    }
}
