//! The parser of request bodies without HTTP, for fuzzers. Not for use: anything here may change
//! at any time.
#![doc(hidden)]

use tee_session_domain::{AllowedHosts, BaseUrl, Cookies};

use crate::body::CreateSession;

/// What a body of `POST /v1/sessions` asks for, if it is valid.
#[must_use]
pub fn parse_create_body(body: &[u8]) -> Option<(Cookies, BaseUrl)> {
    let create = CreateSession::parse(body, &AllowedHosts::default()).ok()?;
    Some((create.cookies, create.base_url))
}
