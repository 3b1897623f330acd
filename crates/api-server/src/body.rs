//! Wire shapes: the JSON that goes in and comes out. The domain's types know nothing of them.

mod authorized;
mod create_session;
mod introspected;
mod listed_sessions;
mod patch_session;
mod session_body;
mod session_members;
mod token_form;
mod unique_json;

use std::fmt::Display;

use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde::{Serialize, Serializer, ser::Error};
use tee_session_domain::{NewSession, Session, SessionId, SessionTtl};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use crate::openapi::schemas;

pub(crate) use self::{
    authorized::AuthorizedBody,
    create_session::CreateSession,
    introspected::IntrospectedBody,
    listed_sessions::{ListedSessions, RevokedSessions},
    patch_session::parse_patch,
    session_body::SessionBody,
    token_form::TokenForm,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Bytes of a time in UTC with nanoseconds: `2026-01-15T10:30:00.123456789Z`.
const MAX_TIMESTAMP_LEN: usize = 30;

/// Bytes of most answers: a buffer of them seldom grows.
const USUAL_LEN: usize = 512;

/// An answer of 200 with this body, which caches must not keep.
pub(crate) fn ok(body: &impl Serialize) -> HttpResponse {
    let mut json = Vec::with_capacity(USUAL_LEN);
    let written = serde_json::to_writer(&mut json, body);
    ok_json(written.map(|()| json))
}

fn ok_json(json: serde_json::Result<Vec<u8>>) -> HttpResponse {
    match json {
        Ok(json) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, JSON))
            .insert_header((CACHE_CONTROL, NO_STORE))
            .body(json),
        Err(error) => HttpResponse::from_error(ErrorInternalServerError(error)),
    }
}

/// The answer to `POST /v1/sessions` and `POST /v1/session/rotate`; names of RFC 6749, section 5.1.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedSession<'a> {
    #[schema(schema_with = schemas::token)]
    access_token: &'a str,
    #[schema(schema_with = schemas::token_type)]
    token_type: &'static str,
    /// Seconds until the session ends if it is not used.
    expires_in: u64,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
    #[schema(schema_with = schemas::session_id)]
    session_id: String,
}

impl<'a> CreatedSession<'a> {
    pub(crate) fn new(new: &'a NewSession, id: SessionId) -> Self {
        Self {
            access_token: new.token.expose_secret(),
            token_type: "Bearer",
            expires_in: new.ttl.as_secs(),
            expires_at: Timestamp(new.expires_at),
            session_id: id.to_string(),
        }
    }
}

/// The answer to `GET /v1/session/ttl`; the time is cut to whole seconds.
#[derive(Serialize, ToSchema)]
pub(crate) struct TtlBody {
    /// Seconds.
    ttl: u64,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
}

impl From<SessionTtl> for TtlBody {
    fn from(ttl: SessionTtl) -> Self {
        Self {
            ttl: ttl.ttl.as_secs(),
            expires_at: Timestamp(ttl.expires_at),
        }
    }
}

/// A time in UTC, as RFC 3339 writes it.
pub(crate) struct Timestamp(pub(crate) OffsetDateTime);

impl Timestamp {
    /// The text, written into `buffer`.
    fn write<'a>(&self, buffer: &'a mut [u8; MAX_TIMESTAMP_LEN]) -> Option<&'a str> {
        let mut rest = buffer.as_mut_slice();
        let time = self.0.to_offset(UtcOffset::UTC);
        time.format_into(&mut rest, &Rfc3339).ok()?;
        // Not what it says it has written, which leaves the `Z` out.
        let len = MAX_TIMESTAMP_LEN - rest.len();
        str::from_utf8(&buffer[..len]).ok()
    }

    /// For a header field; `None` for a year that RFC 3339 has no digits for.
    pub(crate) fn header_value(&self) -> Option<HeaderValue> {
        let mut text = [0; MAX_TIMESTAMP_LEN];
        HeaderValue::from_str(self.write(&mut text)?).ok()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; MAX_TIMESTAMP_LEN];
        let text = self.write(&mut text);
        serializer.serialize_str(text.ok_or_else(|| S::Error::custom("no time of RFC 3339"))?)
    }
}

/// Who a session stands for: its subject, or its id if it has none.
fn sub(session: &Session, id: SessionId) -> String {
    let subject = session.subject.as_ref();
    subject.map_or_else(|| id.to_string(), |subject| subject.as_str().to_owned())
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
