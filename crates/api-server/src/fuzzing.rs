//! Request and answer bodies without HTTP, for fuzzers and benchmarks. Not for use: anything here
//! may change at any time.
#![doc(hidden)]

use tee_session_auth_middleware::CurrentSession;
use tee_session_domain::{AllowedHosts, BaseUrl, Cookies};

use crate::body::{CreateSession, SessionBody};

/// What a body of `POST /v1/sessions` asks for, if it is valid.
#[must_use]
pub fn parse_create_body(body: &[u8]) -> Option<(Cookies, BaseUrl)> {
    let create = CreateSession::parse(body, &AllowedHosts::default()).ok()?;
    Some((create.cookies, create.base_url))
}

/// The body that answers `GET /v1/session`.
#[must_use]
pub fn session_body(current: &CurrentSession) -> Option<String> {
    serde_json::to_string(&SessionBody::new(current)).ok()
}
