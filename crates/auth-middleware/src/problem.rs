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

use crate::Challenge;

/// An error answer: `application/problem+json` with the members `type`, `title`, `status`,
/// `detail`, `code`, `errors` where single members of the input are at fault, and `error` where
/// OAuth 2.0 clients read the answer.
///
/// It never repeats input, and is never cached.
///
/// ```
/// use actix_web::http::StatusCode;
/// use tee_session_auth_middleware::ProblemDetails;
///
/// let problem = ProblemDetails::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here");
/// assert_eq!(problem.response().status(), StatusCode::NOT_FOUND);
/// ```
#[derive(Debug, Clone)]
pub struct ProblemDetails {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<InvalidMember>,
    oauth_error: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One member of a JSON input that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvalidMember {
    /// Where it stands: a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What is allowed there.
    pub detail: String,
}

/// The stable name of a problem; responses made from [`ProblemDetails`] carry it as an
/// extension, for middleware that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemCode(pub &'static str);

impl ProblemDetails {
    /// A problem with the stable name `code` and a sentence for people.
    #[must_use]
    pub fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            oauth_error: None,
            headers: Vec::new(),
        }
    }

    /// Adds a challenge.
    #[must_use]
    pub fn with_challenge(self, challenge: Challenge) -> Self {
        self.with_header(header::WWW_AUTHENTICATE, challenge.header_value())
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a header field.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds the members of the input that are at fault.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<InvalidMember>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds the member `error`, by which OAuth 2.0 clients know what went wrong (RFC 6749, section
    /// 5.2).
    #[must_use]
    pub fn with_oauth_error(mut self, error: &'static str) -> Self {
        self.oauth_error = Some(error);
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name, value));
        }
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response.extensions_mut().insert(ProblemCode(self.code));
        response.json(Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            error: self.oauth_error,
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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [InvalidMember],
}
