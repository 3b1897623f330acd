//! Calls with a session token, and their responses.

use std::time::Duration;

use reqwest::{Method, header::IF_MATCH};
use serde::{Deserialize, de::IgnoredAny};
use tee_session_domain::{BaseUrl, CookieUrl, Cookies, SessionId, SessionToken, UnsendableCookie};
use thiserror::Error;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    Authorization, Client, ClientError, ETag, NewSession, SessionAttributes, SessionPatch,
    attempts::RetryPolicy,
    call::{Call, MERGE_PATCH},
    cookie_attributes::CookieDetails,
    response::SuccessResponse,
    wire,
};

const SESSION: &str = "/v1/session";

/// Handle for calls with a session token, returned by [`Client::session`](crate::Client::session).
///
/// If the token is invalid, each call returns an error, and
/// [`is_invalid_token`](ClientError::is_invalid_token) is `true` for this error.
#[derive(Debug, Clone, Copy)]
pub struct SessionClient<'a> {
    client: &'a Client,
    token: &'a SessionToken,
}

impl<'a> SessionClient<'a> {
    pub(crate) fn new(client: &'a Client, token: &'a SessionToken) -> Self {
        Self { client, token }
    }

    pub(crate) fn call(self, method: Method, path: &str, retry_policy: RetryPolicy) -> Call<'a> {
        Call::new(self.client, method, path, retry_policy).with_bearer_token(self.token)
    }

    pub(crate) fn http(self) -> &'a reqwest::Client {
        &self.client.http
    }

    /// Returns the session (`GET /v1/session`) and renews the idle timeout of the session.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails.
    pub async fn get(self) -> Result<Session, ClientError> {
        let call = self.call(Method::GET, SESSION, RetryPolicy::Idempotent);
        Session::from_response(&call.send().await?)
    }

    /// Returns the session with the attributes of its cookies (`GET /v1/session?attributes=true`),
    /// and renews the idle timeout of the session. With the attributes,
    /// [`jar_for`](Session::jar_for) finds the cookies for a URL.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails.
    pub async fn get_with_attributes(self) -> Result<Session, ClientError> {
        let call = self.call(Method::GET, SESSION, RetryPolicy::Idempotent);
        let response = call.with_query("attributes", "true").send().await?;
        let details: CookieDetails = response.decode("a session with cookie attributes")?;
        let mut session = Session::from_response(&response)?;
        session.cookies = details.add_to(session.cookies);
        Ok(session)
    }

    /// Returns the remaining lifetime of the session (`GET /v1/session/ttl`). Does not renew the
    /// idle timeout of the session.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails.
    pub async fn ttl(self) -> Result<TimeToLive, ClientError> {
        let call = self.call(Method::GET, "/v1/session/ttl", RetryPolicy::Idempotent);
        call.send().await?.decode("a time to live")
    }

    /// Returns the session's subject and other data without its cookies (`GET /v1/authorize`), and
    /// renews the idle timeout of the session.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails.
    pub async fn authorize(self) -> Result<Authorization, ClientError> {
        let call = self.call(Method::GET, "/v1/authorize", RetryPolicy::Idempotent);
        Authorization::from_response(&call.send().await?)
    }

    /// Changes the session (`PATCH /v1/session`), renews the idle timeout of the session, and
    /// returns the changed session.
    ///
    /// A request that was sent is never retried, because a retry could undo changes that other
    /// clients made between the two attempts. With [`if_match`](SessionPatch::if_match), a retry
    /// would fail if the first attempt had succeeded. If the outcome of the call is unknown, get
    /// the session and check its state.
    ///
    /// # Errors
    /// Returns a [`ClientError`]. If the entity tag of [`if_match`](SessionPatch::if_match) is
    /// outdated, the session is not changed. The error is then a problem with the code
    /// [`PreconditionFailed`](crate::ProblemCode::PreconditionFailed).
    pub async fn update(self, patch: &SessionPatch) -> Result<Session, ClientError> {
        let call = self.call(Method::PATCH, SESSION, RetryPolicy::Never);
        let mut call = call.with_json(MERGE_PATCH, &patch.body)?;
        if let Some(etag) = &patch.if_match {
            call = call.with_header(IF_MATCH, etag.as_str(), false);
        }
        Session::from_response(&call.send().await?)
    }

    /// Replaces the session's token with a new token (`POST /v1/session/rotate`). The old token
    /// becomes invalid.
    ///
    /// The request has an `Idempotency-Key`, and the call is retried after a transient failure. The
    /// service replaces the token at most once. If the outcome of the call is unknown nevertheless,
    /// the client does not know the new token. In this case, try the old token. If the old token is
    /// invalid, log in again.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails.
    pub async fn rotate(self) -> Result<NewSession, ClientError> {
        let call = self.call(Method::POST, "/v1/session/rotate", RetryPolicy::Never);
        NewSession::from_response_to(call.with_idempotency_key()).await
    }

    /// Ends the session (`DELETE /v1/session`). The token of the session becomes invalid.
    ///
    /// If an attempt fails with a transient error, the call is retried. If a retry finds the token
    /// invalid, and an earlier attempt may have ended the session, the call succeeds.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails.
    pub async fn delete(self) -> Result<(), ClientError> {
        let call = self.call(Method::DELETE, SESSION, RetryPolicy::IdempotentDelete);
        call.send().await?;
        Ok(())
    }
}

/// A session as stored by the service: cookies and base URL of an upstream site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// Public id of the session, for operators. The id gives no access to the session.
    #[serde(deserialize_with = "wire::parsed")]
    pub session_id: SessionId,
    /// Cookies of the upstream site. Empty if the service hides their values; see
    /// [`cookie_names`](Self::cookie_names).
    #[serde(default, deserialize_with = "wire::cookies")]
    pub cookies: Cookies,
    /// Names of the cookies, if the service hides their values (setting `hide_cookies`). `None` if
    /// [`cookies`](Self::cookies) contains the cookies. With hidden values, requests to the site go
    /// through [`SessionClient::upstream`].
    #[serde(default)]
    pub cookie_names: Option<Vec<String>>,
    /// Base URL of the upstream site. The cookies belong to this site.
    #[serde(deserialize_with = "wire::base_url")]
    pub base_url: BaseUrl,
    /// Creation time of the session.
    #[serde(deserialize_with = "wire::time")]
    pub created_at: OffsetDateTime,
    /// Earliest time at which the session can expire. A request that uses the session may postpone
    /// this time.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
    /// Subject and label of the session.
    #[serde(flatten)]
    pub attributes: SessionAttributes,
    /// Entity tag of the session's state, for [`SessionPatch::if_match`]. `None` if the response
    /// has no valid `ETag` header field.
    #[serde(skip)]
    pub etag: Option<ETag>,
}

impl Session {
    /// Returns the value of the `Cookie` header field for a request to `url`, as browsers compute
    /// it. Returns `None` if no cookie is sent to `url`. The computation requires the attributes of
    /// the cookies, which only [`get_with_attributes`](SessionClient::get_with_attributes) returns.
    /// A cookie without attributes is sent to all paths of the host of the base URL.
    ///
    /// # Errors
    /// Fails in each of these cases: `url` is not an absolute `http` or `https` URL, a cookie for
    /// `url` has a value with `;`, or the service hides the values of cookies.
    pub fn jar_for(&self, url: &str) -> Result<Option<Zeroizing<String>>, CookieHeaderError> {
        if self.cookie_names.is_some() {
            return Err(CookieHeaderError::Hidden);
        }
        let url = CookieUrl::parse(url).ok_or(CookieHeaderError::NotAUrl)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "like a browser, a client judges the expiry of cookies by its own clock"
        )]
        let now = OffsetDateTime::now_utc();
        let header = self.cookies.header_for(&url, &self.base_url, now);
        header.map_err(|UnsendableCookie| CookieHeaderError::Unsendable)
    }

    pub(crate) fn from_response(response: &SuccessResponse) -> Result<Self, ClientError> {
        let mut session: Self = response.decode("a session")?;
        if session.cookies.is_empty() && session.cookie_names.is_none() {
            // A session response has the member `cookies` or `cookie_names`. A response with
            // neither is not a session.
            response.decode::<WithCookies>("a session")?;
        }
        session.etag = response.etag();
        Ok(session)
    }
}

#[derive(Deserialize)]
struct WithCookies {
    #[serde(rename = "cookies")]
    _cookies: IgnoredAny,
}

/// Error of [`Session::jar_for`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CookieHeaderError {
    /// The text is not an absolute `http` or `https` URL.
    #[error("the text is not an absolute http or https URL")]
    NotAUrl,
    /// A cookie for the URL has a value with `;`. The site would parse the rest of the value as
    /// another cookie.
    #[error("a cookie for this URL has a value with a semicolon, which cannot be sent")]
    Unsendable,
    /// The service hides the values of cookies.
    #[error("the service hides the values of cookies; send the request through its gateway")]
    Hidden,
}

/// Remaining lifetime of a session, returned by [`SessionClient::ttl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct TimeToLive {
    /// Time from the response to `expires_at`, in whole seconds.
    #[serde(deserialize_with = "wire::seconds")]
    pub ttl: Duration,
    /// Earliest time at which the session can expire. A request that uses the session may postpone
    /// this time.
    #[serde(deserialize_with = "wire::time")]
    pub expires_at: OffsetDateTime,
}
