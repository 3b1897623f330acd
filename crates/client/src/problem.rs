//! Error responses of the service (problem details, RFC 9457).

mod codes;

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;
use thiserror::Error;

pub use self::codes::ProblemCode;
use crate::{Outcome, outcome::cookies_are_kept};

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
    /// Shows whether a request to the site of the session may have reached the site. `None` for all
    /// other calls.
    pub outcome: Option<Outcome>,
    /// `false` if the site has answered and the service has not stored the cookies of this answer,
    /// see [`UpstreamAnswer::cookies_are_kept`](crate::UpstreamAnswer::cookies_are_kept).
    pub cookies_are_kept: bool,
}

/// A member of the JSON request body that the service rejected as invalid.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct InvalidMember {
    /// JSON Pointer (RFC 6901) to the invalid member in the request body, such as
    /// `/cookies/SESSIONID`. An empty pointer refers to the whole body.
    pub pointer: String,
    /// Description of the values that are allowed for this member of the request body.
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
            outcome: Outcome::of(&document.outcome),
            cookies_are_kept: cookies_are_kept(headers),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    code: String,
    detail: String,
    errors: Vec<InvalidMember>,
    outcome: String,
}

impl Document {
    fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let is_problem = content_type.starts_with("application/problem+json");
        serde_json::from_slice(body).ok().filter(|_| is_problem)
    }
}
