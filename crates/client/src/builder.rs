//! Builder for a client with custom settings, and the errors of building a client.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use reqwest::{Certificate, header::HeaderMap, redirect, retry};
use tee_session_domain::{BaseUrl, BaseUrlError};
use thiserror::Error;
use url::Url;

use crate::{Client, attempts::Limits, credentials::Credentials, header_fields::HeaderFields};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Upper limit of the connect timeout. A service that can be reached accepts a connection much
/// sooner, so a new attempt is better than a longer wait.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time after which the client closes an idle connection. The service closes an idle connection
/// after 75 seconds, so the client must close it earlier. Otherwise the client could send a request
/// while the service closes the connection, and the outcome of the request would be unknown.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// Creates a client of the service at `url`, with the default settings of [`ClientBuilder`].
    /// `url` is an `http` or `https` URL. If `url` has a path, the path is prepended to the paths
    /// of all calls.
    ///
    /// Plain `http` exposes tokens, cookies and client secrets to the network. Use plain `http`
    /// only on the loopback interface, or in a network that is protected by other means.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if `url` is invalid or the HTTP client cannot be set up.
    pub fn new(url: impl Into<String>) -> Result<Self, BuildError> {
        Self::builder(url).build()
    }

    /// Returns a builder for a client with custom timeouts, certificates and other settings. `url`
    /// is the `http` or `https` URL of the service.
    #[must_use]
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }
}

/// Builder for a [`Client`]. Every setting has a default.
///
/// ```
/// use std::time::Duration;
/// use tee_session_client::Client;
///
/// let client = Client::builder("https://sessions.internal.example")
///     .credentials("shop", "the secret that `client new` printed")
///     .timeout(Duration::from_secs(2))
///     .deadline(Duration::from_secs(5))
///     .build()?;
/// # Ok::<(), tee_session_client::BuildError>(())
/// ```
#[derive(Debug)]
pub struct ClientBuilder {
    url: String,
    credentials: Option<Arc<Credentials>>,
    limits: Limits,
    user_agent: String,
    authorities: Option<Vec<u8>>,
    environment_proxy: bool,
    header_fields: Option<HeaderFields>,
}

impl ClientBuilder {
    fn new(url: String) -> Self {
        Self {
            url,
            credentials: None,
            limits: Limits::default(),
            user_agent: USER_AGENT.to_owned(),
            authorities: None,
            environment_proxy: false,
            header_fields: None,
        }
    }

    /// Sets the credentials of a service client: its id and its secret. By default, no credentials
    /// are set.
    #[must_use]
    pub fn credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        let credentials = Credentials::new(id.into(), secret.into());
        self.credentials = Some(Arc::new(credentials));
        self
    }

    /// Sets the timeout of one attempt, from the start of the connection to the last byte of the
    /// response. The default is 5 seconds. The connect timeout is half of this timeout, but at most
    /// 2 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// Sets the maximum duration of a call, including all attempts and the waits between the
    /// attempts. The default is 10 seconds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// Sets the maximum number of attempts per call. The default is 3. If `attempts` is 1, a call
    /// is never retried. 0 is treated as 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    /// Sets the `User-Agent` header field. The default is the name and the version of this crate.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Trusts the certificate authorities in `pem` (PEM format) instead of the certificate
    /// authorities of the operating system.
    #[must_use]
    pub fn certificate_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Uses the proxy from the environment variables `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`.
    /// By default, the client ignores these environment variables, because a proxy can read
    /// everything that is sent over plain `http`.
    #[must_use]
    pub fn proxy_from_environment(mut self) -> Self {
        self.environment_proxy = true;
        self
    }

    /// Sets a callback that adds header fields to each call. If the callback adds the current trace
    /// of the application (W3C Trace Context), the spans of the service become children of the
    /// application's current span.
    ///
    /// The callback `add` runs on the task that makes the call. `add` runs once per call, not once
    /// per attempt. Header fields that the client itself sends cannot be overridden by `add`.
    ///
    /// ```
    /// use opentelemetry::{Context, global};
    /// use opentelemetry_http::HeaderInjector;
    /// use tee_session_client::Client;
    ///
    /// let client = Client::builder("https://sessions.internal.example")
    ///     .header_fields(|headers| {
    ///         let context = Context::current();
    ///         global::get_text_map_propagator(|propagator| {
    ///             propagator.inject_context(&context, &mut HeaderInjector(headers));
    ///         });
    ///     })
    ///     .build()?;
    /// # Ok::<(), tee_session_client::BuildError>(())
    /// ```
    #[must_use]
    pub fn header_fields(mut self, add: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        self.header_fields = Some(HeaderFields::new(add));
        self
    }

    /// Builds the client. The client connects to the service at its first call.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if the URL of the service is invalid, if the certificate
    /// authorities are invalid, or if the HTTP client cannot be set up.
    pub fn build(self) -> Result<Client, BuildError> {
        let text = BaseUrl::new(self.url)?;
        // `BaseUrl` accepts fewer URLs than `Url::parse`, so this error is not expected.
        let url = Url::parse(text.as_str()).map_err(|_| BaseUrlError::Host)?;
        if url.query().is_some() {
            return Err(BuildError::Query);
        }
        let mut http = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .connect_timeout(MAX_CONNECT_TIMEOUT.min(self.limits.timeout / 2))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            // Redirects are not followed, because a redirect could send a token to another server.
            .redirect(redirect::Policy::none())
            // Requests are retried by `Limits::send` only, not by reqwest.
            .retry(retry::never());
        if !self.environment_proxy {
            http = http.no_proxy();
        }
        if let Some(pem) = self.authorities {
            let authorities = Certificate::from_pem_bundle(&pem).map_err(certificates)?;
            if authorities.is_empty() {
                return Err(certificates("the PEM text contains no certificate"));
            }
            http = http.tls_certs_only(authorities);
        } else if url.scheme() == "http" && !self.environment_proxy {
            // A client that uses only plain `http` needs no certificate authorities. Without this
            // empty list, the client could not be built on a system without installed certificate
            // authorities.
            http = http.tls_certs_only([]);
        }
        Ok(Client {
            http: http.build().map_err(|error| BuildError::Http {
                source: error.into(),
            })?,
            url,
            credentials: self.credentials,
            limits: self.limits,
            header_fields: self.header_fields,
        })
    }
}

fn certificates(source: impl Into<Box<dyn StdError + Send + Sync>>) -> BuildError {
    BuildError::Certificates {
        source: source.into(),
    }
}

/// Error of [`ClientBuilder::build`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL of the service is invalid.
    #[error("the URL of the service {0}")]
    Url(#[from] BaseUrlError),
    /// The URL of the service contains a query (`?...`), which is not allowed.
    #[error("the URL of the service must not have a query")]
    Query,
    /// The certificate authorities are not valid PEM certificates.
    #[error("the certificate authorities cannot be read")]
    Certificates {
        /// Reason why the certificates are invalid.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The HTTP client cannot be set up, for example because the user agent is not a valid header
    /// value, or because no certificate authority is installed.
    #[error("the HTTP client cannot be set up")]
    Http {
        /// Cause of the failed set-up, as reported by the HTTP library.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}
