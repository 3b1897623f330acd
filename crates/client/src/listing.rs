//! Request and response for the list of a subject's sessions.

use reqwest::Method;
use serde::Deserialize;
use tee_session_domain::SessionId;
use time::OffsetDateTime;

use crate::{Client, ClientError, SessionAttributes, attempts::RetryPolicy, call::Call, wire};

/// A call that requests one page of the list of a subject's sessions, returned by
/// [`Client::list_sessions`](crate::Client::list_sessions). [`send`](Self::send) sends the request.
#[derive(Debug, Clone, Copy)]
#[must_use = "the request is only sent by `send`"]
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

    /// Sets the maximum number of sessions on a page, 1 to 100. If no maximum is set, the service
    /// uses 50.
    pub fn limit(mut self, limit: u8) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Requests the page that follows a previous page. `next` is the cursor in
    /// [`SessionsPage::next`] of the previous page.
    pub fn after(mut self, next: &'a str) -> Self {
        self.after = Some(next);
        self
    }

    /// Sends the request. If an attempt fails with a transient error, the call is retried.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails.
    pub async fn send(self) -> Result<SessionsPage, ClientError> {
        let path = "/v1/sessions";
        let mut call = Call::new(self.client, Method::GET, path, RetryPolicy::Idempotent)
            .with_client_credentials()
            .with_query("subject", self.subject);
        if let Some(limit) = self.limit {
            call = call.with_query("limit", &limit.to_string());
        }
        if let Some(after) = self.after {
            call = call.with_query("after", after);
        }
        let mut page: SessionsPage = call.send().await?.decode("a page of sessions")?;
        for session in &mut page.sessions {
            // The service does not repeat the subject of the request.
            session.attributes.subject = Some(self.subject.to_owned());
        }
        Ok(page)
    }
}

/// One page of the list of a subject's sessions, returned by [`ListSessions::send`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SessionsPage {
    /// Sessions on this page. Empty if the subject has no sessions.
    pub sessions: Vec<ListedSession>,
    /// Cursor of the next page, for [`ListSessions::after`]. `None` on the last page.
    pub next: Option<String>,
}

/// A session in the list of a subject's sessions, without its token and cookies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ListedSession {
    /// Public id of the session, for [`Client::end_session`](crate::Client::end_session).
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Creation time of the session.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: OffsetDateTime,
    /// Approximate time of the last request that used the session.
    #[serde(deserialize_with = "wire::time")]
    pub last_seen: OffsetDateTime,
    /// Earliest time at which the session can expire. A request that uses the session may postpone
    /// this time.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
    /// Subject and label of the session. The subject is the same for all sessions of the list.
    #[serde(flatten)]
    pub attributes: SessionAttributes,
}

/// A session that [`Client::find_session`](crate::Client::find_session) found by its id. The
/// optional fields are set if the call named the subject of the session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FoundSession {
    /// Public id of the session.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Earliest time at which the session can expire, if the call named the subject. A request that
    /// uses the session may postpone this time.
    ///
    /// Without the subject, this is the end of the idle timeout. The absolute lifetime of the
    /// session may end earlier.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
    /// Creation time of the session.
    #[serde(default, deserialize_with = "wire::optional_time")]
    pub created_at: Option<OffsetDateTime>,
    /// Approximate time of the last request that used the session.
    #[serde(default, deserialize_with = "wire::optional_time")]
    pub last_seen: Option<OffsetDateTime>,
    /// Subject and label of the session. Empty if the call did not name the subject.
    #[serde(flatten)]
    pub attributes: SessionAttributes,
}

/// Response body of [`Client::end_sessions`](crate::Client::end_sessions).
#[derive(Deserialize)]
pub(crate) struct Ended {
    pub(crate) revoked: u64,
}
