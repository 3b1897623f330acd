//! Calls to the service, as methods of [`Client`].

use reqwest::Method;
use tee_session_domain::{BaseUrl, Cookies, SessionId, SessionToken};

use crate::{
    Client, ClientError, CreateSession, FoundSession, Health, Introspection, ListSessions,
    SessionClient, attempts::RetryPolicy, call::Call, introspection, listing,
};

impl Client {
    /// Prepares a call that stores the cookies and the base URL of an upstream site as a new
    /// session (`POST /v1/sessions`, scope `create`). [`CreateSession::send`] sends the request.
    pub fn create<'a>(&'a self, cookies: &'a Cookies, base_url: &'a BaseUrl) -> CreateSession<'a> {
        CreateSession::new(self, cookies, base_url)
    }

    /// Returns a handle for calls with the session token `token`. Does not send a request.
    #[must_use]
    pub fn session<'a>(&'a self, token: &'a SessionToken) -> SessionClient<'a> {
        SessionClient::new(self, token)
    }

    /// Prepares a call that lists the sessions of `subject` (`GET /v1/sessions?subject=`, scope
    /// `admin`). [`ListSessions::send`] sends the request.
    pub fn list_sessions<'a>(&'a self, subject: &'a str) -> ListSessions<'a> {
        ListSessions::new(self, subject)
    }

    /// Finds the session with the id `id` (`GET /v1/sessions/<id>`, scope `admin`). Does not renew
    /// the idle timeout of the session. If `subject` is given, the session must belong to the
    /// subject, and the result also contains the session's creation time, last use and label.
    ///
    /// # Errors
    /// Returns a [`ClientError`]. If no session has the id `id`, the error is a
    /// [`Problem`](crate::Problem) with status 404.
    pub async fn find_session(
        &self,
        id: &SessionId,
        subject: Option<&str>,
    ) -> Result<FoundSession, ClientError> {
        let path = format!("/v1/sessions/{id}");
        let mut call =
            Call::new(self, Method::GET, &path, RetryPolicy::Idempotent).with_client_credentials();
        if let Some(subject) = subject {
            call = call.with_query("subject", subject);
        }
        let mut found: FoundSession = call.send().await?.decode("a session")?;
        // The service does not repeat the subject.
        found.attributes.subject = subject.map(ToOwned::to_owned);
        Ok(found)
    }

    /// Ends all sessions of `subject` (`DELETE /v1/sessions?subject=`, scope `admin`) and returns
    /// the number of ended sessions.
    ///
    /// If an attempt fails with a transient error, the call is retried. After a retry, the returned
    /// number counts only the sessions that the last attempt ended.
    ///
    /// # Errors
    /// Returns a [`ClientError`]. If [`outcome_is_unknown`](ClientError::outcome_is_unknown) is
    /// `true` for the error, some sessions may have ended.
    pub async fn end_sessions(&self, subject: &str) -> Result<u64, ClientError> {
        let call = Call::new(
            self,
            Method::DELETE,
            "/v1/sessions",
            RetryPolicy::Idempotent,
        );
        let call = call
            .with_client_credentials()
            .with_query("subject", subject);
        let ended: listing::Ended = call.send().await?.decode("a count of sessions")?;
        Ok(ended.revoked)
    }

    /// Ends the session with the id `id` (`DELETE /v1/sessions/<id>`, scope `admin`).
    ///
    /// If an attempt fails with a transient error, the call is retried. If a retry finds no
    /// session, and an earlier attempt may have ended the session, the call succeeds.
    ///
    /// # Errors
    /// Returns a [`ClientError`]. If no session has the id `id`, the error is a
    /// [`Problem`](crate::Problem) with status 404.
    pub async fn end_session(&self, id: &SessionId) -> Result<(), ClientError> {
        let path = format!("/v1/sessions/{id}");
        let call = Call::new(self, Method::DELETE, &path, RetryPolicy::IdempotentDelete);
        call.with_client_credentials().send().await?;
        Ok(())
    }

    /// Returns information about `token` (`POST /v1/introspect`, RFC 7662, scope `introspect`).
    /// Returns `None` if `token` has no valid session. Does not renew the idle timeout of the
    /// session.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails. An invalid token is not an error.
    pub async fn introspect(
        &self,
        token: &SessionToken,
    ) -> Result<Option<Introspection>, ClientError> {
        let call = Call::new(
            self,
            Method::POST,
            "/v1/introspect",
            RetryPolicy::Idempotent,
        );
        let response = call
            .with_client_credentials()
            .with_token_form(token)
            .send()
            .await?;
        let response: introspection::ResponseBody = response.decode("an introspection response")?;
        response.into_active()
    }

    /// Ends the session of `token` (`POST /v1/revoke`, RFC 7009, scope `revoke`). Also succeeds if
    /// `token` has no valid session.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails. An invalid token is not an error.
    pub async fn revoke(&self, token: &SessionToken) -> Result<(), ClientError> {
        let call = Call::new(self, Method::POST, "/v1/revoke", RetryPolicy::Idempotent);
        call.with_client_credentials()
            .with_token_form(token)
            .send()
            .await?;
        Ok(())
    }

    /// Returns the health of the service (`GET /health`).
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the call fails. A degraded service is not an error.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let call = Call::new(self, Method::GET, "/health", RetryPolicy::Idempotent);
        call.send().await?.decode("a health response")
    }
}
