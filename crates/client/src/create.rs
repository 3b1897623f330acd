//! Putting a login behind a token.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tee_session_domain::{BaseUrl, Cookies, SessionId, SessionToken};
use time::OffsetDateTime;

use crate::{
    Client, ClientError, ETag,
    attempts::Repetition,
    call::{Call, JSON},
    wire,
};

/// A session yet to be created; made by [`Client::create`](crate::Client::create).
#[derive(Debug, Clone, Copy)]
#[must_use = "it is sent by `send`"]
pub struct CreateSession<'a> {
    client: &'a Client,
    body: Body<'a>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Body<'a> {
    #[serde(serialize_with = "wire::cookies_as_map")]
    cookies: &'a Cookies,
    #[serde(serialize_with = "wire::base_url_as_text")]
    base_url: &'a BaseUrl,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

impl<'a> CreateSession<'a> {
    pub(crate) fn new(client: &'a Client, cookies: &'a Cookies, base_url: &'a BaseUrl) -> Self {
        let body = Body {
            cookies,
            base_url,
            subject: None,
            label: None,
        };
        Self { client, body }
    }

    /// Whose session it is: 1 to 256 visible ASCII characters. All sessions of a subject can be
    /// listed, and ended at once.
    pub fn subject(mut self, subject: &'a str) -> Self {
        self.body.subject = Some(subject);
        self
    }

    /// What the session is called in lists: 1 to 256 bytes without control characters.
    pub fn label(mut self, label: &'a str) -> Self {
        self.body.label = Some(label);
        self
    }

    /// Sends it. Once it was sent it is never repeated: when the answer is lost there may be a
    /// session whose token nobody knows, which ends by itself when it idles out.
    ///
    /// # Errors
    /// [`ClientError`]; of a session that breaks rules a problem whose `errors` says where.
    pub async fn send(self) -> Result<NewSession, ClientError> {
        let call = Call::new(self.client, Method::POST, "/v1/sessions", Repetition::Never);
        let call = call.by_service_client();
        NewSession::from_answer_to(call.with_json(JSON, &self.body)?).await
    }
}

/// A session that was created, or whose token was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NewSession {
    /// The token that opens it: a secret, for its holder alone.
    #[serde(deserialize_with = "wire::parsed")]
    pub access_token: SessionToken,
    /// The id that names it to operators, and opens nothing.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// How long it lives if nobody uses it, in whole seconds.
    #[serde(deserialize_with = "wire::seconds")]
    pub expires_in: Duration,
    /// When that is over.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
    /// Names its state, for [`SessionPatch::if_match`](crate::SessionPatch::if_match); `None` if the
    /// answer had none.
    #[serde(skip)]
    pub etag: Option<ETag>,
}

impl NewSession {
    pub(crate) async fn from_answer_to(call: Call<'_>) -> Result<Self, ClientError> {
        let answer = call.send().await?;
        let mut new: Self = answer.decode("new session")?;
        new.etag = answer.etag();
        Ok(new)
    }
}
