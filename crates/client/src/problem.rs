//! What the service says when it says no (RFC 9457).

use std::{fmt, time::Duration};

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;
use thiserror::Error;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the service answered {status} {code}: {detail}")]
#[non_exhaustive]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable name of the problem.
    pub code: ProblemCode,
    /// A sentence for people; empty if the answer is no problem document, as of a gateway.
    pub detail: String,
    /// The members of the request that are at fault, if single ones are.
    pub errors: Vec<InvalidMember>,
    /// How long to wait before the call is made again. Only seconds are read, not dates.
    pub retry_after: Option<Duration>,
}

/// One member of the request's JSON that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct InvalidMember {
    /// Where it stands: a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What is allowed there.
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
        /// The stable name of a problem. `Display` gives it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$doc])* $code,)*
            /// Another one, of a newer service; empty if the answer names none, as of a gateway.
            Other(String),
        }

        impl ProblemCode {
            /// The name.
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
    /// 401: the token opens nothing. Its holder has to log in again.
    InvalidToken = "invalid_token",
    /// 400: the service cannot read the request.
    InvalidRequest = "invalid_request",
    /// 401: the service client is unknown, or its secret is wrong.
    InvalidClient = "invalid_client",
    /// 403: the service client may not do that.
    InsufficientScope = "insufficient_scope",
    /// 404: there is no such session, or nothing at this URL.
    NotFound = "not_found",
    /// 405: the service is an older one, or the URL is another's.
    MethodNotAllowed = "method_not_allowed",
    /// 408: the request took too long on its way, and was not carried out.
    RequestTimeout = "request_timeout",
    /// 411: the request does not say how long it is.
    LengthRequired = "length_required",
    /// 409: the subject has as many sessions as it may have. End one first.
    SessionLimitReached = "session_limit_reached",
    /// 412: the session was changed since its `ETag` was told. Get it, and decide again.
    PreconditionFailed = "precondition_failed",
    /// 413: the request is longer than the service allows.
    PayloadTooLarge = "payload_too_large",
    /// 414: the URL is too long.
    UriTooLong = "uri_too_long",
    /// 415: the service does not take this kind of body.
    UnsupportedMediaType = "unsupported_media_type",
    /// 422: the session breaks rules; `errors` says which.
    InvalidSession = "invalid_session",
    /// 429: too many invalid tokens came from this address, and this is another one.
    TooManyRequests = "too_many_requests",
    /// 431: the header fields are too large.
    RequestHeaderFieldsTooLarge = "request_header_fields_too_large",
    /// 500: a bug of the service.
    InternalError = "internal_error",
    /// 503: the store is away. The session may well be alive, and a change may have been made.
    StoreUnavailable = "store_unavailable",
    /// 503: the store has no room. Nothing was changed.
    StoreFull = "store_full",
    /// 503: the service has too much to do. Nothing was changed.
    Overloaded = "overloaded",
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
