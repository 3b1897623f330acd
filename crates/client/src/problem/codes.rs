//! The problem codes of the service.
//!
//! A test of the API server writes the list at the end of this file from the service's own list of
//! problem codes: `UPDATE_DOCS=1 scripts/test up_to_date`.

use std::fmt;

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// Stable, machine-readable code of a problem. `Display` writes the name of the code, for
        /// example `invalid_token`.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$doc])* $code,)*
            /// A code that this client does not know, for example from a newer service. The text is
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

        impl fmt::Display for ProblemCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
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
    /// HTTP status 400. Fix the request. It has malformed JSON, a malformed `Authorization`,
    /// `Host`, query or `If-Match`, a repeated parameter, or a repeated or unknown member.
    InvalidRequest = "invalid_request",
    /// HTTP status 401. Send `Authorization: Bearer <token>`.
    MissingToken = "missing_token",
    /// HTTP status 401. Log in again. Unknown, expired, logged-out and malformed tokens get the
    /// same response.
    InvalidToken = "invalid_token",
    /// HTTP status 401. Send the id and secret of a service client (HTTP Basic).
    InvalidClient = "invalid_client",
    /// HTTP status 401. Log in to the site again, through the gateway or with a new session. The
    /// site shows that its login is over, but the session is still alive. `outcome` is `unknown`:
    /// the site has received the request, and sites usually refuse it then.
    UpstreamSessionExpired = "upstream_session_expired",
    /// HTTP status 403. Use a service client with that scope. If no service client is configured
    /// and a proxy forwards the request, configure one.
    InsufficientScope = "insufficient_scope",
    /// HTTP status 403. The gateway may not call this site. Use a base URL whose host, scheme, port
    /// and address the operator allows. Nothing was sent.
    UpstreamNotAllowed = "upstream_not_allowed",
    /// HTTP status 404. Check the path, or the id of the session.
    NotFound = "not_found",
    /// HTTP status 405. Use one of the methods in `Allow`.
    MethodNotAllowed = "method_not_allowed",
    /// HTTP status 408. Send the whole body in time. The request was not carried out.
    RequestTimeout = "request_timeout",
    /// HTTP status 409. End one of the subject's sessions first (`max_sessions_per_subject`).
    SessionLimitReached = "session_limit_reached",
    /// HTTP status 409. Repeat the request after `Retry-After`, with the same `Idempotency-Key`.
    IdempotencyInProgress = "idempotency_in_progress",
    /// HTTP status 411. Send `Content-Length`.
    LengthRequired = "length_required",
    /// HTTP status 412. Read the session again: it is not in the state that `If-Match` names.
    PreconditionFailed = "precondition_failed",
    /// HTTP status 413. Send a smaller body.
    PayloadTooLarge = "payload_too_large",
    /// HTTP status 414. Send a shorter URL.
    UriTooLong = "uri_too_long",
    /// HTTP status 415. Send the media type that `detail` names, uncompressed.
    UnsupportedMediaType = "unsupported_media_type",
    /// HTTP status 422. Fix the members that `errors` points to (JSON Pointers).
    InvalidSession = "invalid_session",
    /// HTTP status 422. Use a new `Idempotency-Key` for each new request. If you repeat a request,
    /// send the same body.
    IdempotencyKeyReused = "idempotency_key_reused",
    /// HTTP status 429. Too many invalid tokens, or wrong secrets of service clients, came from
    /// your address. Retry after `Retry-After`. Valid tokens and right secrets are still accepted.
    TooManyRequests = "too_many_requests",
    /// HTTP status 431. Send smaller header fields.
    RequestHeaderFieldsTooLarge = "request_header_fields_too_large",
    /// HTTP status 500. A retry does not help: this is a bug of the service, or an operator must
    /// repair data that another program damaged (`detail` says which). Report the `X-Request-Id`.
    InternalError = "internal_error",
    /// HTTP status 501. The gateway does not pass on WebSockets. Nothing was sent.
    NotImplemented = "not_implemented",
    /// HTTP status 502. No connection to the site could be made. Nothing was sent, so the request
    /// can be repeated.
    UpstreamUnreachable = "upstream_unreachable",
    /// HTTP status 502. The site gave no usable answer. It may have carried out the request: look
    /// at its pages before you repeat it.
    UpstreamFailed = "upstream_failed",
    /// HTTP status 503. Retry after `Retry-After`. The session may still be alive.
    StoreUnavailable = "store_unavailable",
    /// HTTP status 503. Do not retry: an operator must give the service a permission or a command
    /// of Redis that this request needs. The session may still be alive, and other requests may
    /// work.
    StoreMisconfigured = "store_misconfigured",
    /// HTTP status 503. Retry later. Existing sessions still work.
    StoreFull = "store_full",
    /// HTTP status 503. Retry after `Retry-After`, or at another instance. The same code means that
    /// other clients kept changing the session; then nothing was changed.
    Overloaded = "overloaded",
    /// HTTP status 503. Too many requests of the session, or to its site, are under way. Nothing
    /// was sent; repeat the request after `Retry-After`.
    UpstreamBusy = "upstream_busy",
    /// HTTP status 504. The site did not answer in time. `outcome` says if the request may have
    /// been carried out.
    UpstreamTimeout = "upstream_timeout",
}
