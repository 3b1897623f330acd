//! [`Client`], the entry point for all calls to the service.

use std::sync::Arc;

use url::Url;

use crate::{attempts::Limits, credentials::Credentials, header_fields::HeaderFields};

/// A client of a Tee Session service.
///
/// Create one client and clone it. Clones are cheap and share the connections of the first client.
/// The client needs a tokio runtime with the time and IO drivers enabled.
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
    /// Sets the credentials of the service client `id`. The credentials are sent only with calls
    /// that require a service client, never with calls that carry a session token.
    #[must_use]
    pub fn with_credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        let credentials = Credentials::new(id.into(), secret.into());
        self.credentials = Some(Arc::new(credentials));
        self
    }
}
