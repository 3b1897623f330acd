//! Request and response for creating a session, and the session attributes (subject and label) that
//! the request contains and other responses return.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tee_session_domain::{BaseUrl, Cookies, SessionId, SessionToken};
use time::OffsetDateTime;

use crate::{
    Client, ClientError, ETag,
    attempts::RetryPolicy,
    call::{Call, JSON},
    wire,
};

/// A call that creates a session, returned by [`Client::create`](crate::Client::create).
/// [`send`](Self::send) sends the request.
#[derive(Debug, Clone, Copy)]
#[must_use = "the request is only sent by `send`"]
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

/// Subject and label of a session. Both are optional, and are set when the session is created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SessionAttributes {
    /// Subject of the session. `None` if no subject was set.
    pub subject: Option<String>,
    /// Label of the session. `None` if no label was set.
    pub label: Option<String>,
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

    /// Sets the subject of the session: the user or account to which the session belongs. A subject
    /// is any text of 1 to 256 bytes without control characters. All sessions of a subject can be
    /// listed and ended together.
    pub fn subject(mut self, subject: &'a str) -> Self {
        self.body.subject = Some(subject);
        self
    }

    /// Sets the label: the display name of the session in a list. A label consists of 1 to 256
    /// bytes without control characters.
    pub fn label(mut self, label: &'a str) -> Self {
        self.body.label = Some(label);
        self
    }

    /// Sends the request. If the client has credentials, the request has an `Idempotency-Key`, and
    /// the call is retried after a transient failure. The service creates at most one session.
    ///
    /// Without credentials, a request that was sent is never retried. If the response is lost, the
    /// service may have created a session, but no client knows its token. Such a session expires
    /// after the idle timeout.
    ///
    /// # Errors
    /// Returns a [`ClientError`]. If the session is invalid, the error is a
    /// [`Problem`](crate::Problem) whose `errors` lists the invalid members of the request.
    pub async fn send(self) -> Result<NewSession, ClientError> {
        let call = Call::new(
            self.client,
            Method::POST,
            "/v1/sessions",
            RetryPolicy::Never,
        );
        let call = call.with_client_credentials().with_idempotency_key();
        NewSession::from_response_to(call.with_json(JSON, &self.body)?).await
    }
}

/// A session with a new token. Returned when a session was created, or when the token of a session
/// was rotated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NewSession {
    /// Bearer token of the session. The token is secret, because it gives access to the session's
    /// cookies.
    #[serde(deserialize_with = "wire::parsed")]
    pub access_token: SessionToken,
    /// Public id of the session, for operators. The id gives no access to the session.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Time from the response to `expires_at`, in whole seconds.
    #[serde(deserialize_with = "wire::seconds")]
    pub expires_in: Duration,
    /// Earliest time at which the session can expire. A request that uses the session may postpone
    /// this time.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
    /// Cookies of the request that the service did not store, because a session cannot hold them.
    /// Empty if the session was rotated.
    #[serde(default)]
    pub ignored: Vec<IgnoredCookie>,
    /// Entity tag of the session's current state, for
    /// [`SessionPatch::if_match`](crate::SessionPatch::if_match). `None` if the response has no
    /// valid `ETag` header field.
    #[serde(skip)]
    pub etag: Option<ETag>,
}

/// A cookie of a request that the service did not store. [`Cookies::new`] rejects cookies that
/// violate the rules of this client's release. The service therefore ignores a cookie only if the
/// release of the service has stricter rules than the release of the client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct IgnoredCookie {
    /// JSON Pointer (RFC 6901) to the cookie in the request body, such as `/cookies/SESSIONID`.
    pub pointer: String,
    /// Machine-readable reason why the service did not store the cookie: `syntax`, `prefix`,
    /// `too_large` or `full`. A later release of the service may have more reasons.
    pub reason: String,
}

impl NewSession {
    pub(crate) async fn from_response_to(call: Call<'_>) -> Result<Self, ClientError> {
        let response = call.send().await?;
        let mut new: Self = response.decode("a new session")?;
        new.etag = response.etag();
        Ok(new)
    }
}
