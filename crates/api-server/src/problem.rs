//! The one place of this crate that picks a status.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, HeaderName, HeaderValue},
    },
};
use tee_session_auth_middleware::{AuthError, Challenge, InvalidMember, ProblemDetails};
use tee_session_domain::{ErrorChain, RepositoryError, SessionError, UpdateError};
use thiserror::Error;

/// Seconds after which a client may try again when a session cannot be stored, or a request
/// cannot be served.
const RETRY_AFTER: u32 = 1;

/// Which patches a resource takes (RFC 5789, section 3.1).
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// A request cannot be served.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error("no such resource")]
    NotFound,
    #[error("the resource does not take this method")]
    MethodNotAllowed { allow: &'static str },
    #[error("too many requests are in flight")]
    Overloaded,
    #[error("the request target is too long")]
    UriTooLong,
    #[error("the header fields are too large")]
    HeaderFieldsTooLarge,
    #[error("the body did not arrive in time")]
    RequestTimeout,
    #[error("the body is longer than {limit} bytes")]
    PayloadTooLarge { limit: usize },
    #[error("the body is of another type: {0}")]
    UnsupportedMediaType(&'static str),
    #[error("the patch is of another type: {0}")]
    UnsupportedPatch(&'static str),
    #[error("the session is not in the state that the request is for")]
    PreconditionFailed,
    #[error("the request is malformed: {0}")]
    InvalidRequest(String),
    #[error("the body is no valid session")]
    InvalidSession(Vec<InvalidMember>),
    #[error("no known service client")]
    InvalidClient,
    #[error("the service client lacks the scope")]
    InsufficientScope,
    #[error("the request came through a proxy, and no service clients are configured")]
    ProxiedWithoutClients,
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("the subject has as many sessions as it may have")]
    TooManySessions,
    #[error("the session store is full")]
    StoreFull(#[source] RepositoryError),
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Repository(error @ RepositoryError::Full { .. }) => {
                Self::StoreFull(error)
            }
            SessionError::TooManySessions => Self::TooManySessions,
            error => Self::Auth(error.into()),
        }
    }
}

impl From<UpdateError> for ApiError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::PreconditionFailed => Self::PreconditionFailed,
            UpdateError::Cookies(error) => error.into(),
            UpdateError::Session(error) => error.into(),
            // Whatever comes later is no fault of the client's.
            error => Self::Auth(AuthError::Store(RepositoryError::unavailable(error))),
        }
    }
}

impl ApiError {
    /// The one type of patches that is taken.
    pub(crate) const PATCH_TYPE: &'static str = "application/merge-patch+json";

    pub(crate) fn problem(&self) -> ProblemDetails {
        match self {
            Self::NotFound => {
                ProblemDetails::new(StatusCode::NOT_FOUND, "not_found", "No such resource")
            }
            Self::MethodNotAllowed { allow } => ProblemDetails::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("This resource takes {allow}"),
            )
            .with_header(ALLOW, HeaderValue::from_static(allow)),
            Self::Overloaded => ProblemDetails::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "This instance is serving as many requests as it can",
            )
            .with_retry_after(RETRY_AFTER),
            Self::UriTooLong => problem_of_status(StatusCode::URI_TOO_LONG),
            Self::HeaderFieldsTooLarge => {
                problem_of_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            }
            Self::RequestTimeout => ProblemDetails::new(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "The request body did not arrive in time",
            ),
            Self::PayloadTooLarge { limit } => ProblemDetails::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                format!("The request body may hold at most {limit} bytes"),
            ),
            Self::UnsupportedMediaType(detail) => ProblemDetails::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                *detail,
            ),
            Self::UnsupportedPatch(detail) => Self::UnsupportedMediaType(detail)
                .problem()
                .with_header(ACCEPT_PATCH, HeaderValue::from_static(Self::PATCH_TYPE)),
            Self::PreconditionFailed => problem_of_status(StatusCode::PRECONDITION_FAILED),
            Self::InvalidRequest(detail) => {
                ProblemDetails::new(StatusCode::BAD_REQUEST, "invalid_request", detail.clone())
            }
            Self::InvalidSession(errors) => ProblemDetails::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_session",
                "The request body is not a valid session; errors says where",
            )
            .with_errors(errors.clone()),
            Self::InvalidClient => ProblemDetails::new(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "The id and secret of a service client are required (HTTP Basic)",
            )
            .with_challenge(Challenge::Basic),
            Self::InsufficientScope => ProblemDetails::new(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "This service client may not do that",
            ),
            Self::ProxiedWithoutClients => ProblemDetails::new(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "Through a proxy this needs a service client, and none is configured",
            ),
            Self::Auth(error) => error.problem(),
            Self::TooManySessions => ProblemDetails::new(
                StatusCode::CONFLICT,
                "session_limit_reached",
                "The subject has as many sessions as it may have; end one first",
            ),
            Self::StoreFull(_) => ProblemDetails::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_full",
                "The session store has no room for another session",
            )
            .with_retry_after(RETRY_AFTER),
        }
    }

    /// Logs a failure of the store, for who answers and so handles it.
    pub(crate) fn log_failure(&self) {
        match self {
            Self::Auth(error) => error.log_failure(),
            Self::StoreFull(error) => {
                tracing::error!(error = %ErrorChain(error), "Request failed: session store full");
            }
            _ => {}
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.problem().status()
    }

    fn error_response(&self) -> HttpResponse {
        self.log_failure();
        self.problem().response()
    }
}

/// The problem that stands for an error answer that nobody gave a body.
pub(crate) fn problem_of_status(status: StatusCode) -> ProblemDetails {
    let (code, detail) = match status {
        StatusCode::BAD_REQUEST => ("invalid_request", "The request is malformed"),
        StatusCode::NOT_FOUND => ("not_found", "No such resource"),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "The method is not allowed here"),
        StatusCode::REQUEST_TIMEOUT => ("request_timeout", "The request did not arrive in time"),
        StatusCode::LENGTH_REQUIRED => ("length_required", "A Content-Length is required"),
        StatusCode::PAYLOAD_TOO_LARGE => ("payload_too_large", "The request body is too large"),
        StatusCode::PRECONDITION_FAILED => (
            "precondition_failed",
            "The session is not in the state that the request asks for",
        ),
        StatusCode::URI_TOO_LONG => ("uri_too_long", "The request target is too long"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            "unsupported_media_type",
            "The request body is of another type",
        ),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            "request_header_fields_too_large",
            "The request header fields are too large",
        ),
        status if status.is_client_error() => ("invalid_request", "The request cannot be served"),
        _ => ("internal_error", "The request could not be served"),
    };
    ProblemDetails::new(status, code, detail)
}
