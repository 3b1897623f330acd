//! List of all problem codes. The API description and the table in the documentation are generated
//! from this list.

use actix_web::http::StatusCode;

/// Stable, machine-readable code of a problem, with the HTTP status of the error response. A
/// response made from [`ProblemDetails`](crate::ProblemDetails) carries the code in its extensions,
/// so that middleware can count problems by code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemCode {
    name: &'static str,
    status: StatusCode,
    advice: &'static str,
}

impl ProblemCode {
    /// Creates a problem code. `name` must differ from the names of all other codes. `advice`
    /// describes in Markdown how a client should react.
    #[must_use]
    pub const fn new(name: &'static str, status: StatusCode, advice: &'static str) -> Self {
        Self {
            name,
            status,
            advice,
        }
    }

    /// Returns the name of the code, for example `invalid_token`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Returns the HTTP status of responses with this code.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.status
    }

    /// Returns a description of how a client should react, as Markdown.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.advice
    }
}

macro_rules! problem_codes {
    ($($code:ident = $name:literal, $status:ident, $advice:literal;)+) => {
        impl ProblemCode {
            $(
                #[doc = concat!("`", $name, "`: ", $advice)]
                pub const $code: Self = Self::new($name, StatusCode::$status, $advice);
            )+

            /// All problem codes that Tee Session uses, sorted by status.
            pub const ALL: &[Self] = &[$(Self::$code),+];
        }
    };
}

problem_codes! {
    INVALID_REQUEST = "invalid_request", BAD_REQUEST,
        "Fix the request. It has malformed JSON, a malformed `Authorization`, `Host`, query or \
         `If-Match`, a repeated parameter, or a repeated or unknown member.";
    MISSING_TOKEN = "missing_token", UNAUTHORIZED, "Send `Authorization: Bearer <token>`.";
    INVALID_TOKEN = "invalid_token", UNAUTHORIZED,
        "Log in again. Unknown, expired, logged-out and malformed tokens get the same response.";
    INVALID_CLIENT = "invalid_client", UNAUTHORIZED,
        "Send the id and secret of a service client (HTTP Basic).";
    UPSTREAM_SESSION_EXPIRED = "upstream_session_expired", UNAUTHORIZED,
        "Log in to the site again, through the gateway or with a new session. The site shows that its \
         login is over, but the session is still alive. `outcome` is `unknown`: the site has received the \
         request, and sites usually refuse it then.";
    INSUFFICIENT_SCOPE = "insufficient_scope", FORBIDDEN,
        "Use a service client with that scope. If no service client is configured and a proxy \
         forwards the request, configure one.";
    UPSTREAM_NOT_ALLOWED = "upstream_not_allowed", FORBIDDEN,
        "The gateway may not call this site. Use a base URL whose host, scheme, port and address the \
         operator allows. Nothing was sent.";
    NOT_FOUND = "not_found", NOT_FOUND, "Check the path, or the id of the session.";
    METHOD_NOT_ALLOWED = "method_not_allowed", METHOD_NOT_ALLOWED,
        "Use one of the methods in `Allow`.";
    REQUEST_TIMEOUT = "request_timeout", REQUEST_TIMEOUT,
        "Send the whole body in time. The request was not carried out.";
    SESSION_LIMIT_REACHED = "session_limit_reached", CONFLICT,
        "End one of the subject's sessions first (`max_sessions_per_subject`).";
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress", CONFLICT,
        "Repeat the request after `Retry-After`, with the same `Idempotency-Key`.";
    LENGTH_REQUIRED = "length_required", LENGTH_REQUIRED, "Send `Content-Length`.";
    PRECONDITION_FAILED = "precondition_failed", PRECONDITION_FAILED,
        "Read the session again: it is not in the state that `If-Match` names.";
    PAYLOAD_TOO_LARGE = "payload_too_large", PAYLOAD_TOO_LARGE, "Send a smaller body.";
    URI_TOO_LONG = "uri_too_long", URI_TOO_LONG, "Send a shorter URL.";
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE,
        "Send the media type that `detail` names, uncompressed.";
    INVALID_SESSION = "invalid_session", UNPROCESSABLE_ENTITY,
        "Fix the members that `errors` points to (JSON Pointers).";
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", UNPROCESSABLE_ENTITY,
        "Use a new `Idempotency-Key` for each new request. If you repeat a request, send the same body.";
    TOO_MANY_REQUESTS = "too_many_requests", TOO_MANY_REQUESTS,
        "Too many invalid tokens, or wrong secrets of service clients, came from your address. Retry after \
         `Retry-After`. Valid tokens and right secrets are still accepted.";
    REQUEST_HEADER_FIELDS_TOO_LARGE = "request_header_fields_too_large",
        REQUEST_HEADER_FIELDS_TOO_LARGE, "Send smaller header fields.";
    INTERNAL_ERROR = "internal_error", INTERNAL_SERVER_ERROR,
        "A retry does not help: this is a bug of the service, or an operator must repair data that another \
         program damaged (`detail` says which). Report the `X-Request-Id`.";
    NOT_IMPLEMENTED = "not_implemented", NOT_IMPLEMENTED,
        "The gateway does not pass on WebSockets. Nothing was sent.";
    UPSTREAM_UNREACHABLE = "upstream_unreachable", BAD_GATEWAY,
        "No connection to the site could be made. Nothing was sent, so the request can be repeated.";
    UPSTREAM_FAILED = "upstream_failed", BAD_GATEWAY,
        "The site gave no usable answer. It may have carried out the request: look at its pages before \
         you repeat it.";
    STORE_UNAVAILABLE = "store_unavailable", SERVICE_UNAVAILABLE,
        "Retry after `Retry-After`. The session may still be alive.";
    STORE_MISCONFIGURED = "store_misconfigured", SERVICE_UNAVAILABLE,
        "Do not retry: an operator must give the service a permission or a command of Redis that this request \
         needs. The session may still be alive, and other requests may work.";
    STORE_FULL = "store_full", SERVICE_UNAVAILABLE, "Retry later. Existing sessions still work.";
    OVERLOADED = "overloaded", SERVICE_UNAVAILABLE,
        "Retry after `Retry-After`, or at another instance. The same code means that other clients \
         kept changing the session; then nothing was changed.";
    UPSTREAM_BUSY = "upstream_busy", SERVICE_UNAVAILABLE,
        "Too many requests of the session, or to its site, are under way. Nothing was sent; repeat the \
         request after `Retry-After`.";
    UPSTREAM_TIMEOUT = "upstream_timeout", GATEWAY_TIMEOUT,
        "The site did not answer in time. `outcome` says if the request may have been carried out.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_problem_code_has_its_own_name_and_advice() {
        let names: HashSet<_> = ProblemCode::ALL.iter().map(|code| code.name()).collect();
        let advice: HashSet<_> = ProblemCode::ALL.iter().map(|code| code.advice()).collect();
        assert_eq!(names.len(), ProblemCode::ALL.len());
        assert_eq!(advice.len(), ProblemCode::ALL.len());
        assert!(!advice.contains(""));
    }
}
