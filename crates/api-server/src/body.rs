//! Parsers of request bodies, and code that several response bodies use. The types of bodies are
//! separate from the types of the domain. A body type with few members is defined next to its
//! handler.

mod create_session;
mod patch_session;
mod session_body;
mod session_members;
mod token_form;
mod unique_json;

use std::fmt::Display;

pub(crate) use self::{
    create_session::CreateSession,
    patch_session::{SessionPatchBody, parse_patch},
    session_body::SessionBody,
    session_members::fault,
    token_form::TokenForm,
};
use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde::{Serialize, Serializer, ser::Error};
use tee_session_domain::{Session, SessionId};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Maximum length, in bytes, of the text of a time in UTC, such as
/// `2026-01-15T10:30:00.123456789Z`.
const MAX_TIMESTAMP_LEN: usize = 30;

/// Initial capacity of the buffer for a response body, in bytes. Most response bodies fit without
/// another allocation.
const USUAL_LEN: usize = 512;

/// Builds a response with status 200 and a JSON body that caches must not store.
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

/// A time that is serialized in UTC, in the format of RFC 3339.
pub(crate) struct Timestamp(pub(crate) OffsetDateTime);

impl Timestamp {
    /// Writes the time into `buffer` and returns the written text. Returns `None` for a year that
    /// RFC 3339 cannot express.
    fn write<'a>(&self, buffer: &'a mut [u8; MAX_TIMESTAMP_LEN]) -> Option<&'a str> {
        let mut rest = buffer.as_mut_slice();
        let time = self.0.to_offset(UtcOffset::UTC);
        time.format_into(&mut rest, &Rfc3339).ok()?;
        // The length that `format_into` returns lacks the `Z`, so the length is computed from the
        // unused rest of the buffer.
        let len = MAX_TIMESTAMP_LEN - rest.len();
        str::from_utf8(&buffer[..len]).ok()
    }

    /// Returns the time as the value of a header. Returns `None` for a year that RFC 3339 cannot
    /// express.
    pub(crate) fn header_value(&self) -> Option<HeaderValue> {
        let mut text = [0; MAX_TIMESTAMP_LEN];
        HeaderValue::from_str(self.write(&mut text)?).ok()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; MAX_TIMESTAMP_LEN];
        let text = self.write(&mut text);
        let text = text.ok_or_else(|| S::Error::custom("RFC 3339 cannot express this time"))?;
        serializer.serialize_str(text)
    }
}

/// Returns the subject of a session. If the session has no subject, returns the session id.
pub(crate) fn sub(session: &Session, id: SessionId) -> String {
    let subject = session.attributes.subject.as_ref();
    subject.map_or_else(|| id.to_string(), |subject| subject.as_str().to_owned())
}

/// Serializes a value as the text that its `Display` writes.
pub(crate) fn as_text<S: Serializer>(
    value: &impl Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
