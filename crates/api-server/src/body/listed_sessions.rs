//! What is told of the sessions of a subject: neither tokens nor cookies.

use serde::Serialize;
use tee_session_domain::{ListedSession, SessionId, SessionPage};
use utoipa::ToSchema;

use super::{Timestamp, as_text};
use crate::openapi::schemas;

/// The answer to `GET /v1/sessions`.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListedSessions<'a> {
    /// The oldest first.
    sessions: Vec<Listed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::cursor, required = false)]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ListedSession)]
struct Listed<'a> {
    #[serde(serialize_with = "as_text")]
    #[schema(schema_with = schemas::session_id)]
    session_id: SessionId,
    #[schema(schema_with = schemas::created_at)]
    created_at: Timestamp,
    #[schema(schema_with = schemas::last_seen)]
    last_seen: Timestamp,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::label, required = false)]
    label: Option<&'a str>,
}

impl<'a> ListedSessions<'a> {
    pub(crate) fn new(page: &'a SessionPage) -> Self {
        Self {
            sessions: page.sessions.iter().map(Listed::from).collect(),
            next: page.next.map(|next| next.to_string()),
        }
    }
}

impl<'a> From<&'a ListedSession> for Listed<'a> {
    fn from(session: &'a ListedSession) -> Self {
        Self {
            session_id: session.id,
            created_at: Timestamp(session.created_at),
            last_seen: Timestamp(session.last_seen),
            expires_at: Timestamp(session.expires_at),
            label: session
                .label
                .as_ref()
                .map(tee_session_domain::Label::as_str),
        }
    }
}

/// The answer to `DELETE /v1/sessions`.
#[derive(Serialize, ToSchema)]
pub(crate) struct RevokedSessions {
    /// How many sessions were ended.
    pub(crate) revoked: usize,
}
