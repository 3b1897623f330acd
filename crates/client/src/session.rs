//! The session that a token opens.

use std::time::Duration;

use reqwest::{Method, header::IF_MATCH};
use serde::Deserialize;
use tee_session_domain::{BaseUrl, Cookies, SessionId, SessionToken};
use time::OffsetDateTime;

use crate::{
    Authorization, Client, ClientError, ETag, NewSession, SessionPatch,
    answer::Answer,
    attempts::Repetition,
    call::{Call, MERGE_PATCH},
    wire,
};

const SESSION: &str = "/v1/session";

/// What can be done with a token; made by [`Client::session`](crate::Client::session).
///
/// Each call answers a token that opens nothing with an error that
/// [`is_invalid_token`](ClientError::is_invalid_token).
#[derive(Debug, Clone, Copy)]
pub struct SessionClient<'a> {
    client: &'a Client,
    token: &'a SessionToken,
}

impl<'a> SessionClient<'a> {
    pub(crate) fn new(client: &'a Client, token: &'a SessionToken) -> Self {
        Self { client, token }
    }

    fn call(self, method: Method, path: &str, repetition: Repetition) -> Call<'a> {
        Call::new(self.client, method, path, repetition).by_bearer_of(self.token)
    }

    /// The session (`GET /v1/session`); its idle timeout starts anew.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(self) -> Result<Session, ClientError> {
        let call = self.call(Method::GET, SESSION, Repetition::Harmless);
        Session::from_answer(&call.send().await?)
    }

    /// How long it lives (`GET /v1/session/ttl`); it does not slide.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ttl(self) -> Result<TimeToLive, ClientError> {
        let call = self.call(Method::GET, "/v1/session/ttl", Repetition::Harmless);
        call.send().await?.decode("time to live")
    }

    /// Whose session it is, without its cookies (`GET /v1/authorize`); its idle timeout starts anew.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn authorize(self) -> Result<Authorization, ClientError> {
        let call = self.call(Method::GET, "/v1/authorize", Repetition::Harmless);
        Authorization::from_answer(&call.send().await?)
    }

    /// Changes it, and gives it as it is then (`PATCH /v1/session`); its idle timeout starts anew.
    ///
    /// Once it was sent it is never repeated: a second time could undo what others changed in
    /// between, and with [`if_match`](SessionPatch::if_match) it would fail on its own first success.
    /// When the outcome is unknown, get the session and look.
    ///
    /// # Errors
    /// [`ClientError`]; with a condition that does not hold the problem
    /// [`PreconditionFailed`](crate::ProblemCode::PreconditionFailed), and nothing is changed.
    pub async fn update(self, patch: &SessionPatch) -> Result<Session, ClientError> {
        let call = self.call(Method::PATCH, SESSION, Repetition::Never);
        let mut call = call.with_json(MERGE_PATCH, &patch.body)?;
        if let Some(etag) = &patch.if_match {
            call = call.with_header(IF_MATCH, etag.as_str(), false);
        }
        Session::from_answer(&call.send().await?)
    }

    /// Gives it a new token (`POST /v1/session/rotate`): this one opens nothing any more.
    ///
    /// Once it was sent it is never repeated. When the outcome is unknown, this token may be dead and
    /// the new one lost: try the token, and if it is invalid, log in again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate(self) -> Result<NewSession, ClientError> {
        let call = self.call(Method::POST, "/v1/session/rotate", Repetition::Never);
        NewSession::from_answer_to(call).await
    }

    /// Logs out (`DELETE /v1/session`): the token opens nothing any more.
    ///
    /// It is repeated when an attempt fails. When a later attempt finds the token invalid where an
    /// earlier one may have ended the session, the answer is `Ok`: it is gone.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(self) -> Result<(), ClientError> {
        let call = self.call(Method::DELETE, SESSION, Repetition::UntilGone);
        call.send().await?;
        Ok(())
    }
}

/// An upstream login, as the service keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// The id that names it to operators, and opens nothing.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// The upstream site's cookies.
    #[serde(deserialize_with = "wire::cookies")]
    pub cookies: Cookies,
    /// The upstream site.
    #[serde(deserialize_with = "wire::base_url")]
    pub base_url: BaseUrl,
    /// When it was created.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: OffsetDateTime,
    /// When it may end if nobody uses it.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
    /// Whose it is, if its creator said so.
    pub subject: Option<String>,
    /// What it is called, if its creator said so.
    pub label: Option<String>,
    /// Names its state, for [`SessionPatch::if_match`]; `None` if the answer had none.
    #[serde(skip)]
    pub etag: Option<ETag>,
}

impl Session {
    fn from_answer(answer: &Answer) -> Result<Self, ClientError> {
        let mut session: Self = answer.decode("session")?;
        session.etag = answer.etag();
        Ok(session)
    }
}

/// What is left of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct TimeToLive {
    /// How long it lives if nobody uses it, in whole seconds.
    #[serde(deserialize_with = "wire::seconds")]
    pub ttl: Duration,
    /// When that is over, at the earliest.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
}
