//! The answer of a site: the HTTP response of the site to a request of the gateway.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{body::SiteBody, login::LoginSignal};

/// Answer (HTTP response) of a site, without the header fields that a client of the gateway must
/// not receive.
pub struct SiteAnswer {
    /// HTTP status of the site's answer.
    pub status: StatusCode,
    /// Header fields for the client. `Via` was added. `Set-Cookie`, `Content-Length` and all fields
    /// that a client must not receive were removed.
    pub fields: HeaderMap,
    /// Values of the `Set-Cookie` header fields, in the order of the answer.
    pub set_cookie: Vec<HeaderValue>,
    /// Value of `Content-Length` in an answer without a body (to `HEAD`, or with status 304).
    pub announced_length: Option<u64>,
    /// Time from sending the request to the arrival of the head of the answer.
    pub time_to_head: Duration,
    /// Signal that the user of the session is no longer logged in at the site. If there is a
    /// signal, the caller must not pass on the answer to its client. `None` if there is no signal.
    pub login_over: Option<LoginSignal>,
    /// Body of the site's answer, as a stream.
    pub body: SiteBody,
}

/// Shows the status and the number of cookies, but no header field of the answer.
impl fmt::Debug for SiteAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteAnswer")
            .field("status", &self.status)
            .field("set_cookie", &self.set_cookie.len())
            .finish_non_exhaustive()
    }
}
