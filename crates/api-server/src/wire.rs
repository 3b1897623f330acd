//! Parsers of request bodies, and code that several response bodies share. The types in this module
//! are separate from the domain types. A body type with few members is defined next to its handler.

mod create_session;
mod ignored_cookie;
mod jar_members;
mod json_response;
mod merge_cookies;
mod patch_session;
mod session_attributes;
mod session_body;
mod session_members;
mod timestamp;
mod token_form;
mod unique_json;

use std::fmt::Display;

pub(crate) use self::{
    create_session::CreateSession,
    ignored_cookie::IgnoredCookie,
    json_response::ok,
    merge_cookies::MergeCookies,
    patch_session::{SessionPatchBody, parse_patch},
    session_attributes::AttributeMembers,
    session_body::SessionBody,
    session_members::fault,
    timestamp::Timestamp,
    token_form::TokenForm,
};
use serde::Serializer;
use tee_session_domain::{Session, SessionId};

/// Returns the subject of a session. If the session has no subject, returns the session id.
pub(crate) fn sub(session: &Session, id: SessionId) -> String {
    let subject = session.attributes.subject.as_ref();
    subject.map_or_else(|| id.to_string(), |subject| subject.as_str().to_owned())
}

/// Serializes a value as a string, using its `Display` implementation.
pub(crate) fn as_text<S: Serializer>(
    value: &impl Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
