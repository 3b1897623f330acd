//! Results that the service reports for a request to the site of a session: whether the request may
//! have reached the site, and whether the cookies of the answer were stored.

use reqwest::header::HeaderMap;

/// Shows whether a failed request may have reached the site of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No part of the request reached the site. The request can be repeated without a risk.
    NotSent,
    /// The site may have received the request and may have carried it out.
    Unknown,
}

impl Outcome {
    pub(crate) fn of(text: &str) -> Option<Self> {
        match text {
            "not_sent" => Some(Self::NotSent),
            "unknown" => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// Returns `false` if the header fields of a response report that cookies were not stored.
pub(crate) fn cookies_are_kept(headers: &HeaderMap) -> bool {
    !headers.contains_key("x-upstream-cookies")
}
