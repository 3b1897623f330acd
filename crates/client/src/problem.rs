//! Error responses of the service (problem details, RFC 9457).

use std::{fmt, time::Duration};

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;
use thiserror::Error;

/// An error response of the service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the service answered {status} {code}: {detail}")]
#[non_exhaustive]
pub struct Problem {
    /// HTTP status of the response.
    pub status: u16,
    /// Stable code of the problem.
    pub code: ProblemCode,
    /// Description of the problem for people. Empty if the response contains no problem details,
    /// for example because a gateway sent the response.
    pub detail: String,
    /// Members of the JSON request body that the service rejected as invalid. Empty if the problem
    /// has another cause.
    pub errors: Vec<InvalidMember>,
    /// Time to wait before a retry, from the `Retry-After` header field. `None` if the response has
    /// no such header field, or if the header field contains a date.
    pub retry_after: Option<Duration>,
}

/// A member of the JSON request body that the service rejected as invalid.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct InvalidMember {
    /// JSON Pointer (RFC 6901) to the invalid member in the request body, such as
    /// `/cookies/SESSIONID`. An empty pointer refers to the whole body.
    pub pointer: String,
    /// Description of the values that are allowed for the member.
    pub detail: String,
}

impl Problem {
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let document = Document::read(headers, body).unwrap_or_default();
        let retry_after = headers.get(RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            status: status.as_u16(),
            code: ProblemCode::from(document.code),
            detail: document.detail,
            errors: document.errors,
            retry_after: seconds.map(Duration::from_secs),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    code: String,
    detail: String,
    errors: Vec<InvalidMember>,
}

impl Document {
    fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let is_problem = content_type.starts_with("application/problem+json");
        serde_json::from_slice(body).ok().filter(|_| is_problem)
    }
}

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// Stable code of a problem, for programs. `Display` writes the name of the code, for
        /// example `invalid_token`.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$doc])* $code,)*
            /// A code that this client does not know, for example of a newer service. The text is
            /// empty if the response has no code, for example because a gateway sent the response.
            Other(String),
        }

        impl ProblemCode {
            /// Returns the name of the code, for example `invalid_token`.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$code => $name,)*
                    Self::Other(name) => name,
                }
            }
        }

        impl From<String> for ProblemCode {
            fn from(name: String) -> Self {
                match name.as_str() {
                    $($name => Self::$code,)*
                    _ => Self::Other(name),
                }
            }
        }
    };
}

problem_codes! {
    /// 401: the request carries no bearer token.
    MissingToken = "missing_token",
    /// 401: the session token is invalid or expired. The user of the session has to log in again.
    InvalidToken = "invalid_token",
    /// 400: the request is malformed.
    InvalidRequest = "invalid_request",
    /// 401: the service client is unknown, or its secret is wrong.
    InvalidClient = "invalid_client",
    /// 403: the service client lacks the scope that the call requires.
    InsufficientScope = "insufficient_scope",
    /// 404: the session or the path does not exist.
    NotFound = "not_found",
    /// 405: the path does not support the method of the request. Either the service is an older
    /// release, or the URL belongs to another service.
    MethodNotAllowed = "method_not_allowed",
    /// 408: the request did not arrive in time and was not carried out.
    RequestTimeout = "request_timeout",
    /// 411: the request does not declare its length.
    LengthRequired = "length_required",
    /// 409: the subject already has the maximum number of sessions. End a session of the subject
    /// before you create another session.
    SessionLimitReached = "session_limit_reached",
    /// 412: the session has changed since the service returned the `ETag`. Get the session again,
    /// and decide if the change is still needed.
    PreconditionFailed = "precondition_failed",
    /// 413: the request body is longer than the service allows.
    PayloadTooLarge = "payload_too_large",
    /// 414: the URL is too long.
    UriTooLong = "uri_too_long",
    /// 415: the service does not support the request's content type.
    UnsupportedMediaType = "unsupported_media_type",
    /// 422: the session in the request is invalid. [`Problem::errors`] lists the invalid members.
    InvalidSession = "invalid_session",
    /// 429: the token, or the secret of the service client, is wrong, and too many wrong ones came
    /// from the client's address.
    TooManyRequests = "too_many_requests",
    /// 431: the header fields are too large.
    RequestHeaderFieldsTooLarge = "request_header_fields_too_large",
    /// 500: a bug in the service caused a failure.
    InternalError = "internal_error",
    /// 503: the session store is unavailable. The session may still be alive, and the service may
    /// have made the requested change.
    StoreUnavailable = "store_unavailable",
    /// 503: the session store is full. The request changed nothing.
    StoreFull = "store_full",
    /// 503: the service is overloaded, or other requests kept changing the session. The request
    /// changed nothing.
    Overloaded = "overloaded",
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
