//! Maps the errors of handlers to HTTP statuses and problem details.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, HeaderName, HeaderValue},
    },
};
use metrics::counter;
use tee_session_auth_middleware::{
    AuthError, Challenge, InvalidMember, ProblemCode, ProblemDetails,
};
use tee_session_domain::{ErrorChain, RepositoryError, SessionError, UpdateError};
use tee_session_upstream::{Busy, InvalidTarget, Outcome, UpstreamError};
use thiserror::Error;

use crate::{
    request::scope::Scope,
    upstream::{COOKIES_UNSAVED, not_callable::NotCallable, setting_of},
};

/// Number of seconds in the `Retry-After` header of two error responses: for too many requests in
/// flight, and for too many wrong secrets from one address.
const RETRY_AFTER: u32 = 1;

/// Name of the header that lists the supported media types of `PATCH` requests (RFC 5789, section
/// 3.1).
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Marks an error response whose body is not problem details, such as the response to a health
/// probe or an answer of a site. The middleware does not replace such a body. The mark is stored in
/// the extensions of the response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HasOwnBody;

/// Error of a request, converted to an error response with problem details.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error("no such resource")]
    NotFound,
    #[error("there is no resource at the root")]
    NothingAtRoot,
    #[error("the resource does not support the method")]
    MethodNotAllowed { allow: &'static str },
    #[error("too many requests are in flight")]
    Overloaded,
    #[error("the request target is too long")]
    UriTooLong,
    #[error("the header fields are too large")]
    HeaderFieldsTooLarge,
    #[error("the header Host is invalid")]
    InvalidHost,
    #[error("the request body did not arrive in time")]
    RequestTimeout,
    #[error("the request body is longer than {limit} bytes")]
    PayloadTooLarge { limit: usize },
    #[error("the body of the request to the site is longer than {limit} bytes")]
    PayloadForSiteTooLarge { limit: usize },
    #[error("the media type of the request body is not supported: {0}")]
    UnsupportedMediaType(&'static str),
    #[error("the media type of the patch is not supported: {0}")]
    UnsupportedPatch(&'static str),
    #[error("the session does not meet the preconditions of the request")]
    PreconditionFailed,
    #[error("the request is malformed: {0}")]
    InvalidRequest(String),
    #[error("the request body is not a valid session")]
    InvalidSession(Vec<InvalidMember>),
    #[error("the request has no credentials of a known service client")]
    InvalidClient,
    #[error("the credentials of the request match no service client")]
    WrongClientCredentials,
    #[error("too many wrong secrets of service clients came from this address")]
    TooManyWrongSecrets,
    #[error("the service client lacks the scope {}", .0.as_str())]
    InsufficientScope(Scope),
    #[error("the request came through a proxy, and no service clients are configured")]
    ProxiedWithoutClients,
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Error of a login while the session store is unavailable. The response explains how to repeat
    /// the login.
    #[error(transparent)]
    Login(AuthError),
    #[error("the site of the session may not be called: {0}")]
    NotCallable(#[from] NotCallable),
    #[error("the request asks for a WebSocket")]
    WebSocket,
    #[error("the target of the request is invalid: {0}")]
    InvalidTarget(#[from] InvalidTarget),
    #[error("a cookie cannot be sent to the site")]
    UnsendableCookie(Vec<InvalidMember>),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("the site shows that the login of the session is over")]
    UpstreamSessionExpired,
    /// Error of a request to a site, if the session has not kept the cookies of the site's answer.
    #[error(transparent)]
    Unsaved(Box<Self>),
    /// Error of a request to a site, if no part of the request was sent.
    #[error(transparent)]
    NotSent(Box<Self>),
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        Self::Auth(error.into())
    }
}

impl From<UpdateError> for ApiError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::PreconditionFailed => Self::PreconditionFailed,
            UpdateError::Cookies(error) => error.into(),
            UpdateError::ForeignUrl => {
                let detail = "must have the scheme, host and port of the session's base URL";
                Self::InvalidSession(vec![InvalidMember {
                    pointer: "/url".to_owned(),
                    detail: detail.to_owned(),
                }])
            }
            UpdateError::Session(error) => error.into(),
            // `UpdateError` is non-exhaustive. An unknown variant is answered with 503, because it
            // may not be the fault of the client.
            error => SessionError::from(RepositoryError::unavailable(error)).into(),
        }
    }
}

impl ApiError {
    /// Value of the header that lists the supported media types of `PATCH` requests. Both
    /// types mean a JSON Merge Patch (RFC 7396).
    const PATCH_TYPES: HeaderValue =
        HeaderValue::from_static("application/merge-patch+json, application/json");

    /// Returns the error of a login whose session could not be created.
    pub(crate) fn of_login(error: SessionError) -> Self {
        match &error {
            SessionError::Repository(fault) if fault.is_outage() => Self::Login(error.into()),
            _ => error.into(),
        }
    }

    pub(crate) fn problem(&self) -> ProblemDetails {
        match self {
            Self::NotFound => ProblemDetails::new(ProblemCode::NOT_FOUND, "No such resource"),
            Self::NothingAtRoot => ProblemDetails::new(
                ProblemCode::NOT_FOUND,
                "No such resource; /docs is a page to try the API, and /openapi.json describes it",
            ),
            Self::MethodNotAllowed { allow } => ProblemDetails::new(
                ProblemCode::METHOD_NOT_ALLOWED,
                format!("The method is not allowed; allowed methods: {allow}"),
            )
            .with_header(ALLOW, HeaderValue::from_static(allow)),
            Self::Overloaded => ProblemDetails::new(
                ProblemCode::OVERLOADED,
                "Too many requests are in flight on this instance; try again later",
            )
            .with_retry_after(RETRY_AFTER),
            Self::UriTooLong => problem_of_status(StatusCode::URI_TOO_LONG),
            Self::HeaderFieldsTooLarge => {
                problem_of_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            }
            Self::InvalidHost => ProblemDetails::new(
                ProblemCode::INVALID_REQUEST,
                "The header Host must be a host name or an IP address, optionally with a port",
            ),
            Self::RequestTimeout => ProblemDetails::new(
                ProblemCode::REQUEST_TIMEOUT,
                "The request body did not arrive in time",
            ),
            Self::PayloadTooLarge { limit } => ProblemDetails::new(
                ProblemCode::PAYLOAD_TOO_LARGE,
                format!("The request body must not be longer than {limit} bytes"),
            ),
            Self::PayloadForSiteTooLarge { limit } => ProblemDetails::new(
                ProblemCode::PAYLOAD_TOO_LARGE,
                format!(
                    "The request body must not be longer than {limit} bytes (setting: \
                     upstream_max_request_bytes)"
                ),
            ),
            Self::UnsupportedMediaType(detail) => {
                ProblemDetails::new(ProblemCode::UNSUPPORTED_MEDIA_TYPE, *detail)
            }
            Self::UnsupportedPatch(detail) => Self::UnsupportedMediaType(detail)
                .problem()
                .with_header(ACCEPT_PATCH, Self::PATCH_TYPES),
            Self::PreconditionFailed => problem_of_status(StatusCode::PRECONDITION_FAILED),
            Self::InvalidRequest(detail) => {
                ProblemDetails::new(ProblemCode::INVALID_REQUEST, detail.clone())
            }
            Self::InvalidSession(errors) => ProblemDetails::new(
                ProblemCode::INVALID_SESSION,
                "The request body is not a valid session; see the member errors",
            )
            .with_errors(errors.clone()),
            Self::InvalidClient => ProblemDetails::new(
                ProblemCode::INVALID_CLIENT,
                "The id and secret of a service client are required (HTTP Basic)",
            )
            .with_challenge(Challenge::Basic),
            // The detail does not reveal whether the id or the secret is wrong.
            Self::WrongClientCredentials => ProblemDetails::new(
                ProblemCode::INVALID_CLIENT,
                "Authorization does not contain the id and secret of a known service client (HTTP Basic)",
            )
            .with_challenge(Challenge::Basic),
            Self::TooManyWrongSecrets => ProblemDetails::new(
                ProblemCode::TOO_MANY_REQUESTS,
                "Too many wrong secrets of service clients came from this address",
            )
            .with_retry_after(RETRY_AFTER),
            Self::InsufficientScope(scope) => ProblemDetails::new(
                ProblemCode::INSUFFICIENT_SCOPE,
                format!(
                    "This service client lacks the scope {}, which the request requires; use a client \
                     with this scope, or add the scope in service_clients",
                    scope.as_str()
                ),
            ),
            Self::ProxiedWithoutClients => ProblemDetails::new(
                ProblemCode::INSUFFICIENT_SCOPE,
                "A request through a proxy requires a service client, and none is configured",
            ),
            Self::Auth(error) => error.problem(),
            Self::Login(error) => error.problem().with_detail(
                "The session store is unavailable, so the login has no token yet; repeat the \
                 request. Without an Idempotency-Key, the first attempt may leave an unused session \
                 until it expires. To avoid this, send the same key with each attempt",
            ),
            Self::NotCallable(reason) => {
                ProblemDetails::new(ProblemCode::UPSTREAM_NOT_ALLOWED, reason.detail())
            }
            Self::WebSocket => ProblemDetails::new(
                ProblemCode::NOT_IMPLEMENTED,
                "The gateway does not pass on WebSockets",
            ),
            Self::InvalidTarget(error) => {
                ProblemDetails::new(ProblemCode::INVALID_REQUEST, sentence(&error.to_string()))
            }
            Self::UnsendableCookie(errors) => ProblemDetails::new(
                ProblemCode::INVALID_SESSION,
                "A cookie of the session cannot be sent to the site; see the member errors",
            )
            .with_errors(errors.clone()),
            Self::Upstream(error) => {
                let problem = ProblemDetails::new(upstream_code(error), upstream_detail(error));
                let problem = problem.with_outcome(error.outcome().as_str());
                match error {
                    UpstreamError::Busy(_) => problem.with_retry_after(RETRY_AFTER),
                    _ => problem,
                }
            }
            // The site has received the request, and has usually refused it. However, the sign of
            // an ended login may also be in a page that confirms a completed action.
            Self::UpstreamSessionExpired => ProblemDetails::new(
                ProblemCode::UPSTREAM_SESSION_EXPIRED,
                "The login at the site is over; log in to the site again",
            )
            .with_challenge(Challenge::Bearer)
            .with_outcome(Outcome::Unknown.as_str()),
            Self::Unsaved(error) => {
                let (name, value) = COOKIES_UNSAVED;
                error
                    .problem()
                    .with_header(name, HeaderValue::from_static(value))
            }
            Self::NotSent(error) => error.problem().with_outcome(Outcome::NotSent.as_str()),
        }
    }

    /// Adds the outcome `not_sent` to the error of a request to a site. An error of the exchange
    /// itself already contains an outcome, so such an error is returned unchanged.
    pub(crate) fn not_sent(self) -> Self {
        match self {
            Self::Upstream(_)
            | Self::UpstreamSessionExpired
            | Self::Unsaved(_)
            | Self::NotSent(_) => self,
            error => Self::NotSent(Box::new(error)),
        }
    }

    /// Marks the error of a request to a site, because the session has not kept the cookies of the
    /// site's answer.
    pub(crate) fn unsaved(self) -> Self {
        Self::Unsaved(Box::new(self))
    }

    /// Logs the error if the session store failed, and counts it if the index of a subject is
    /// corrupt. Other errors are not logged. Must be called exactly once for each error, when the
    /// error is converted to a response.
    pub(crate) fn log_failure(&self) {
        match self {
            Self::Auth(error) | Self::Login(error) => {
                if let AuthError::Session(SessionError::Repository(
                    RepositoryError::CorruptIndex { .. },
                )) = error
                {
                    counter!("tee_session_corrupt_indexes_total").increment(1);
                }
                error.log_failure();
            }
            Self::NotSent(error) | Self::Unsaved(error) => error.log_failure(),
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

/// Returns the problem code of a failed exchange with a site.
pub(crate) fn upstream_code(error: &UpstreamError) -> ProblemCode {
    match error {
        UpstreamError::NotAllowed(_) => ProblemCode::UPSTREAM_NOT_ALLOWED,
        UpstreamError::Busy(Busy::All) => ProblemCode::OVERLOADED,
        UpstreamError::Busy(_) => ProblemCode::UPSTREAM_BUSY,
        UpstreamError::Unreachable(_) => ProblemCode::UPSTREAM_UNREACHABLE,
        UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => {
            ProblemCode::UPSTREAM_TIMEOUT
        }
        // `UpstreamError` is non-exhaustive.
        _ => ProblemCode::UPSTREAM_FAILED,
    }
}

fn upstream_detail(error: &UpstreamError) -> String {
    let text = match error {
        UpstreamError::Failed(_) => ErrorChain(error).to_string(),
        _ => error.to_string(),
    };
    let setting = setting_of(error).map_or_else(String::new, |name| format!(" (setting: {name})"));
    let outcome = match error.outcome() {
        Outcome::NotSent => "nothing was sent",
        Outcome::Unknown => "the site may have carried out the request",
    };
    format!("{}{setting}; {outcome}", sentence(&text))
}

/// Returns `text` with its first letter in upper case.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// Returns generic problem details for an error status. Used for error responses of the framework,
/// and for errors that have no more specific detail.
pub(crate) fn problem_of_status(status: StatusCode) -> ProblemDetails {
    let (code, detail) = match status {
        StatusCode::BAD_REQUEST => (ProblemCode::INVALID_REQUEST, "The request is malformed"),
        StatusCode::NOT_FOUND => (ProblemCode::NOT_FOUND, "No such resource"),
        StatusCode::METHOD_NOT_ALLOWED => {
            (ProblemCode::METHOD_NOT_ALLOWED, "The method is not allowed")
        }
        StatusCode::REQUEST_TIMEOUT => (
            ProblemCode::REQUEST_TIMEOUT,
            "The request did not arrive in time",
        ),
        StatusCode::LENGTH_REQUIRED => {
            (ProblemCode::LENGTH_REQUIRED, "A Content-Length is required")
        }
        StatusCode::PAYLOAD_TOO_LARGE => (
            ProblemCode::PAYLOAD_TOO_LARGE,
            "The request body is too large",
        ),
        StatusCode::PRECONDITION_FAILED => (
            ProblemCode::PRECONDITION_FAILED,
            "The session does not meet the If-Match or If-None-Match condition of the request. Load the \
             session again, apply the change to its current state, and send the new ETag. If-Match \
             never matches a weak tag (W/)",
        ),
        StatusCode::URI_TOO_LONG => (ProblemCode::URI_TOO_LONG, "The request target is too long"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            ProblemCode::UNSUPPORTED_MEDIA_TYPE,
            "The media type of the request body is not supported",
        ),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            ProblemCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The request header fields are too large",
        ),
        status if status.is_client_error() => {
            (ProblemCode::INVALID_REQUEST, "The request cannot be served")
        }
        _ => (
            ProblemCode::INTERNAL_ERROR,
            "The request failed because of an internal error",
        ),
    };
    ProblemDetails::new(code, detail).with_status(status)
}
