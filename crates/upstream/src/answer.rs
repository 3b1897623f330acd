//! Answer of a site.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{body::SiteBody, login::LoginSignal};

/// Answer of a site, without the header fields that a client must not see.
pub struct SiteAnswer {
    /// Status of the answer.
    pub status: StatusCode,
    /// Cleaned header fields, with `Via` and without `Set-Cookie` and `Content-Length`.
    pub fields: HeaderMap,
    /// Values of the `Set-Cookie` header fields, in their order.
    pub set_cookie: Vec<HeaderValue>,
    /// Length that the site announced for an answer without body (`HEAD`, 304).
    pub announced_length: Option<u64>,
    /// Time from sending the request to the head of the answer.
    pub time_to_head: Duration,
    /// Signal that the login of the session is over, if there is one. The answer is then of no use
    /// to the client.
    pub login_over: Option<LoginSignal>,
    /// Body of the answer.
    pub body: SiteBody,
}

/// Shows neither cookies nor other header fields.
impl fmt::Debug for SiteAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteAnswer")
            .field("status", &self.status)
            .field("set_cookie", &self.set_cookie.len())
            .finish_non_exhaustive()
    }
}
