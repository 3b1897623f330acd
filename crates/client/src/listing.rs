//! The sessions of a subject.

use reqwest::Method;
use serde::Deserialize;
use tee_session_domain::SessionId;
use time::OffsetDateTime;

use crate::{Client, ClientError, attempts::Repetition, call::Call, wire};

/// A page of the sessions of a subject, yet to be asked for; made by
/// [`Client::list_sessions`](crate::Client::list_sessions).
#[derive(Debug, Clone, Copy)]
#[must_use = "it is sent by `send`"]
pub struct ListSessions<'a> {
    client: &'a Client,
    subject: &'a str,
    limit: Option<u8>,
    after: Option<&'a str>,
}

impl<'a> ListSessions<'a> {
    pub(crate) fn new(client: &'a Client, subject: &'a str) -> Self {
        Self {
            client,
            subject,
            limit: None,
            after: None,
        }
    }

    /// Most sessions on a page, 1 to 100; the service takes 50 by default.
    pub fn limit(mut self, limit: u8) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The page after the one whose [`next`](SessionsPage::next) this is.
    pub fn after(mut self, next: &'a str) -> Self {
        self.after = Some(next);
        self
    }

    /// Sends it. It is repeated when an attempt fails.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(self) -> Result<SessionsPage, ClientError> {
        let path = "/v1/sessions";
        let mut call = Call::new(self.client, Method::GET, path, Repetition::Harmless)
            .by_service_client()
            .with_query("subject", self.subject);
        if let Some(limit) = self.limit {
            call = call.with_query("limit", &limit.to_string());
        }
        if let Some(after) = self.after {
            call = call.with_query("after", after);
        }
        call.send().await?.decode("page of sessions")
    }
}

/// Some of the sessions of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SessionsPage {
    /// The sessions; none if the subject has none.
    pub sessions: Vec<ListedSession>,
    /// What to ask for the next page with; `None` on the last one.
    pub next: Option<String>,
}

/// What operators see of a session: nothing that opens it, and nothing that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ListedSession {
    /// Its id, for [`Client::end_session`](crate::Client::end_session).
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// When it was created.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: OffsetDateTime,
    /// When it was last used, as far as is known.
    #[serde(deserialize_with = "wire::time")]
    pub last_seen: OffsetDateTime,
    /// When it may end if nobody uses it.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
    /// What its creator called it.
    pub label: Option<String>,
}

/// The answer to [`Client::end_sessions`](crate::Client::end_sessions).
#[derive(Deserialize)]
pub(crate) struct Ended {
    pub(crate) revoked: u64,
}
