//! Requests and answers without a connection, for fuzzers and benchmarks. Not for use: anything here
//! may change at any time.
#![doc(hidden)]

use actix_web::HttpResponse;
use tee_session_auth_middleware::CurrentSession;
use tee_session_domain::{AllowedHosts, BaseUrl, Cookies};

use crate::body::{self, CreateSession, SessionBody};

/// What a body of `POST /v1/sessions` asks for, if it is valid.
#[must_use]
pub fn parse_create_body(body: &[u8]) -> Option<(Cookies, BaseUrl)> {
    let create = CreateSession::parse(body, &AllowedHosts::default()).ok()?;
    Some((create.cookies, create.base_url))
}

/// What answers `GET /v1/session`.
#[must_use]
pub fn session_answer(current: &CurrentSession) -> HttpResponse {
    body::ok(&SessionBody::new(current.session_id(), current))
}
