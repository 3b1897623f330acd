//! Problem details for HTTP APIs (RFC 9457).

use std::borrow::Cow;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use serde::Serialize;

use crate::{Challenge, ProblemCode};

/// An error response in the format `application/problem+json`.
///
/// The response body has the members `type`, `title`, `status`, `detail` and `code`. If members of
/// the JSON in the request are invalid, the body also has the member `errors`. On OAuth 2.0
/// endpoints, the body also has the member `error`. Problems of the upstream gateway have the
/// member `outcome`.
///
/// The response must not be cached (`Cache-Control: no-store`). The texts in the response must not
/// quote the request.
///
/// ```
/// use actix_web::http::StatusCode;
/// use tee_session_auth_middleware::{ProblemCode, ProblemDetails};
///
/// let problem = ProblemDetails::new(ProblemCode::NOT_FOUND, "There is nothing here");
/// assert_eq!(problem.response().status(), StatusCode::NOT_FOUND);
/// ```
#[derive(Debug, Clone)]
pub struct ProblemDetails {
    status: StatusCode,
    code: ProblemCode,
    detail: Cow<'static, str>,
    errors: Vec<InvalidMember>,
    oauth_error: Option<&'static str>,
    outcome: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// An invalid member of the JSON in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvalidMember {
    /// JSON Pointer (RFC 6901) to the invalid member in the JSON of the request.
    pub pointer: String,
    /// Text that says which values are allowed for the invalid member of the request.
    pub detail: String,
}

impl ProblemDetails {
    /// Creates problem details with the code `code` and its HTTP status. `detail` is a sentence for
    /// human readers.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: code.status(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            oauth_error: None,
            outcome: None,
            headers: Vec::new(),
        }
    }

    /// Uses the HTTP status `status` instead of the usual status of the problem code.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Uses the sentence `detail` for human readers instead of the previous one.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds a `WWW-Authenticate` header field with `challenge`.
    #[must_use]
    pub fn with_challenge(self, challenge: Challenge) -> Self {
        self.with_header(header::WWW_AUTHENTICATE, challenge.header_value())
    }

    /// Adds a `Retry-After` header field. The client should wait for `seconds` before the next
    /// attempt.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a header field with the name `name` and the value `value` to the response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the member `errors`: the list of invalid members of the request's JSON.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<InvalidMember>) -> Self {
        self.errors = errors;
        self
    }

    /// Sets the member `error`: the error code that OAuth 2.0 clients read (RFC 6749, section 5.2).
    #[must_use]
    pub fn with_oauth_error(mut self, error: &'static str) -> Self {
        self.oauth_error = Some(error);
        self
    }

    /// Sets the member `outcome`, with which a gateway reports whether the request may have reached
    /// the site.
    #[must_use]
    pub fn with_outcome(mut self, outcome: &'static str) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the stable, machine-readable code of the problem, for example `invalid_token`.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// Builds the HTTP response with the problem details as its body.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name, value));
        }
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response.extensions_mut().insert(self.code);
        response.json(Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.name(),
            error: self.oauth_error,
            outcome: self.outcome,
            errors: &self.errors,
        })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [InvalidMember],
}
