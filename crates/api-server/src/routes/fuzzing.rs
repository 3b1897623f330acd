//! Requests and answers without a connection, for fuzzers and benchmarks. Not for use: anything here
//! may change at any time.
#![doc(hidden)]

use actix_web::{
    HttpResponse,
    http::header::{HeaderMap, HeaderValue, IF_MATCH},
};
use tee_session_auth_middleware::CurrentSession;
use tee_session_domain::{AllowedHosts, BaseUrl, Cookies, EntityTag, SessionPatch, SessionToken};

use crate::{
    body::{self, CreateSession, SessionBody, TokenForm},
    precondition::Preconditions,
};

/// What a body of `POST /v1/sessions` asks for, if it is valid.
#[must_use]
pub fn parse_create_body(body: &[u8]) -> Option<(Cookies, BaseUrl)> {
    let create = CreateSession::parse(body, &AllowedHosts::default()).ok()?;
    Some((create.cookies, create.base_url))
}

/// What a body of `PATCH /v1/session` changes, if it is valid.
#[must_use]
pub fn parse_patch_body(body: &[u8]) -> Option<SessionPatch> {
    body::parse_patch(body, &AllowedHosts::default()).ok()
}

/// What a form that names a token names, if it is valid: a token of ours, or none.
#[must_use]
pub fn parse_token_form(body: &[u8]) -> Option<Option<SessionToken>> {
    let form = TokenForm::parse(body).ok()?;
    Some(form.token)
}

/// Whether a field `If-Match` of this value, if it is valid, allows a change of what has this tag.
#[must_use]
pub fn if_match(value: &[u8], tag: EntityTag) -> Option<bool> {
    let mut headers = HeaderMap::new();
    headers.insert(IF_MATCH, HeaderValue::from_bytes(value).ok()?);
    let preconditions = Preconditions::of(&headers).ok()?;
    Some(preconditions.allows(tag))
}

/// What answers `GET /v1/session`.
#[must_use]
pub fn session_answer(current: &CurrentSession) -> HttpResponse {
    SessionBody::new(current.session_id(), current).answer()
}
