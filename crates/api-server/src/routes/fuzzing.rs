//! Parsers of requests and builders of responses, for fuzz targets and benchmarks. They can be
//! called without a connection. This module is not part of the stable API.
#![doc(hidden)]

use actix_web::{
    HttpResponse,
    http::header::{HeaderMap, HeaderValue, IF_MATCH},
};
use tee_session_auth_middleware::CurrentSession;
use tee_session_domain::{AllowedHosts, BaseUrl, Cookies, EntityTag, SessionPatch, SessionToken};

use crate::{
    request::precondition::Preconditions,
    wire::{self, CreateSession, SessionBody, TokenForm},
};

/// Parses the request body of `POST /v1/sessions`. Returns the cookies to store and the base URL.
/// Returns `None` if the body is invalid.
#[must_use]
pub fn parse_create_body(body: &[u8]) -> Option<(Cookies, BaseUrl)> {
    let parsed = CreateSession::parse(body, &AllowedHosts::default()).ok()?;
    Some((parsed.login.cookies, parsed.login.base_url))
}

/// Parses the request body of `PATCH /v1/session`. Returns `None` if the body is invalid.
#[must_use]
pub fn parse_patch_body(body: &[u8]) -> Option<SessionPatch> {
    wire::parse_patch(body, &AllowedHosts::default()).ok()
}

/// Parses the form of `POST /v1/introspect` and `POST /v1/revoke`.
///
/// Returns `None` if the form is invalid, and `Some(None)` if the parameter `token` does not have
/// the format of a session token.
#[must_use]
pub fn parse_token_form(body: &[u8]) -> Option<Option<SessionToken>> {
    let form = TokenForm::parse(body).ok()?;
    Some(form.token)
}

/// Compares the value of an `If-Match` header with `tag`, the entity tag of a session. Returns
/// `Some(true)` if the header matches, and `Some(false)` if the header does not match.
///
/// Returns `None` if the value is malformed.
#[must_use]
pub fn if_match(value: &[u8], tag: EntityTag) -> Option<bool> {
    let mut headers = HeaderMap::new();
    headers.insert(IF_MATCH, HeaderValue::from_bytes(value).ok()?);
    let preconditions = Preconditions::of(&headers).ok()?;
    Some(preconditions.allows(tag))
}

/// Builds the response to `GET /v1/session`.
#[must_use]
pub fn session_response(current: &CurrentSession) -> HttpResponse {
    SessionBody::new(current.session_id(), current).response()
}
