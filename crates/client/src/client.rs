//! What a program holds: one client, for all its calls.

use std::sync::Arc;

use reqwest::Method;
use tee_session_domain::{BaseUrl, Cookies, SessionId, SessionToken};
use url::Url;

use crate::{
    BuildError, ClientBuilder, ClientError, CreateSession, Health, Introspection, ListSessions,
    SessionClient,
    attempts::{Limits, Repetition},
    call::Call,
    credentials::Credentials,
    header_fields::HeaderFields,
    introspection, listing,
};

/// A client of one Tee Session.
///
/// Clones are cheap and share their connections: make one, and keep it. It needs a runtime of
/// tokio with time and IO.
///
/// ```no_run
/// use tee_session_client::{BaseUrl, Client, Cookies};
///
/// # async fn example(secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new("http://127.0.0.1:8000")?.with_credentials("shop", secret);
/// let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
/// let base_url = BaseUrl::new("https://golf.example")?;
/// let new = client.create(&cookies, &base_url).send().await?;
/// let session = client.session(&new.access_token).get().await?;
/// assert_eq!(session.cookies, cookies);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: Url,
    pub(crate) credentials: Option<Arc<Credentials>>,
    pub(crate) limits: Limits,
    pub(crate) header_fields: Option<HeaderFields>,
}

impl Client {
    /// A client of the service at this `http` or `https` URL, with the limits that
    /// [`ClientBuilder`] names. A path in it stands before the paths of all calls.
    ///
    /// Over plain `http` everybody on the way reads tokens, cookies and secrets: keep it to the
    /// loopback interface, or to a network that is protected by other means.
    ///
    /// # Errors
    /// When the URL is none, or the HTTP client cannot be set up.
    pub fn new(url: impl Into<String>) -> Result<Self, BuildError> {
        Self::builder(url).build()
    }

    /// The same with limits, certificates and the like of one's own.
    #[must_use]
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    /// The same client, speaking for the service client `id`. They are sent with the calls for
    /// service clients only: never with one of a session.
    #[must_use]
    pub fn with_credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        let credentials = Credentials::new(id.into(), secret.into());
        self.credentials = Some(Arc::new(credentials));
        self
    }

    /// Puts an upstream login behind a new token (`POST /v1/sessions`, scope `create`).
    pub fn create<'a>(&'a self, cookies: &'a Cookies, base_url: &'a BaseUrl) -> CreateSession<'a> {
        CreateSession::new(self, cookies, base_url)
    }

    /// The session that `token` opens, and what can be done with it.
    #[must_use]
    pub fn session<'a>(&'a self, token: &'a SessionToken) -> SessionClient<'a> {
        SessionClient::new(self, token)
    }

    /// The sessions of a subject (`GET /v1/sessions?subject=`, scope `admin`).
    pub fn list_sessions<'a>(&'a self, subject: &'a str) -> ListSessions<'a> {
        ListSessions::new(self, subject)
    }

    /// Ends all sessions of a subject (`DELETE /v1/sessions?subject=`, scope `admin`), and tells how
    /// many. It is repeated when an attempt fails, and then counts what the last attempt has ended.
    ///
    /// # Errors
    /// [`ClientError`]; when the outcome is unknown, some may have ended.
    pub async fn end_sessions(&self, subject: &str) -> Result<u64, ClientError> {
        let call = Call::new(self, Method::DELETE, "/v1/sessions", Repetition::Harmless);
        let call = call.by_service_client().with_query("subject", subject);
        let ended: listing::Ended = call.send().await?.decode("count of sessions")?;
        Ok(ended.revoked)
    }

    /// Ends the session with this id (`DELETE /v1/sessions/<id>`, scope `admin`).
    ///
    /// It is repeated when an attempt fails. When a later attempt finds no session where an earlier
    /// one may have ended it, the answer is `Ok`: it is gone.
    ///
    /// # Errors
    /// [`ClientError`]; a problem with status 404 when there is no such session.
    pub async fn end_session(&self, id: &SessionId) -> Result<(), ClientError> {
        let path = format!("/v1/sessions/{id}");
        let call = Call::new(self, Method::DELETE, &path, Repetition::UntilGone);
        call.by_service_client().send().await?;
        Ok(())
    }

    /// What the service knows of a token (`POST /v1/introspect`, RFC 7662, scope `introspect`);
    /// `None` when it opens nothing. The session does not slide.
    ///
    /// # Errors
    /// [`ClientError`]; never because of the token.
    pub async fn introspect(
        &self,
        token: &SessionToken,
    ) -> Result<Option<Introspection>, ClientError> {
        let call = Call::new(self, Method::POST, "/v1/introspect", Repetition::Harmless);
        let answer = call.by_service_client().about(token).send().await?;
        let answer: introspection::Answer = answer.decode("introspection")?;
        answer.into_active()
    }

    /// Ends the session of a token (`POST /v1/revoke`, RFC 7009, scope `revoke`): once it is `Ok`
    /// the token opens nothing, whether or not it did before.
    ///
    /// # Errors
    /// [`ClientError`]; never because of the token.
    pub async fn revoke(&self, token: &SessionToken) -> Result<(), ClientError> {
        let call = Call::new(self, Method::POST, "/v1/revoke", Repetition::Harmless);
        call.by_service_client().about(token).send().await?;
        Ok(())
    }

    /// How the service is (`GET /health`).
    ///
    /// # Errors
    /// [`ClientError`]; a service that is degraded answers all the same.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let call = Call::new(self, Method::GET, "/health", Repetition::Harmless);
        call.send().await?.decode("health")
    }
}
