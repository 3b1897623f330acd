//! What is told of the sessions of a subject: neither tokens nor cookies.

use serde::Serialize;
use tee_session_domain::{ListedSession, SessionId, SessionPage};

use super::{Timestamp, as_text};

/// The answer to `GET /v1/sessions`.
#[derive(Serialize)]
pub(crate) struct ListedSessions<'a> {
    sessions: Vec<Listed<'a>>,
    /// What to ask for the next page with, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(serialize_with = "as_text")]
    session_id: SessionId,
    created_at: Timestamp,
    last_seen: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
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
#[derive(Serialize)]
pub(crate) struct RevokedSessions {
    pub(crate) revoked: usize,
}
