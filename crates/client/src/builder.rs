//! How a client is set up.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use reqwest::{Certificate, header::HeaderMap, redirect, retry};
use tee_session_domain::{BaseUrl, BaseUrlError};
use thiserror::Error;
use url::Url;

use crate::{Client, attempts::Limits, credentials::Credentials, header_fields::HeaderFields};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Longest time that a connection may take: a client that waits longer for one host had better try
/// another address.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

/// Less than the 75 seconds after which the service closes an idle connection: else a request may be
/// sent into its end, and nobody knows whether it arrived.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of a [`Client`], each with a sound default.
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
    pub(crate) fn new(url: String) -> Self {
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

    /// Speaks for the service client `id`.
    #[must_use]
    pub fn credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        let credentials = Credentials::new(id.into(), secret.into());
        self.credentials = Some(Arc::new(credentials));
        self
    }

    /// How long one attempt may take, from connecting to the last byte of the answer. 5 seconds by
    /// default. Connecting may take half of it, and 2 seconds at most.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// How long a call may take with all its attempts and the waiting between them. 10 seconds by
    /// default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// How many attempts a call may take; 3 by default. With 1 nothing is ever repeated; 0 means the
    /// same.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    /// How the client names itself; by default by this crate and its version.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Trusts these certificate authorities (PEM) in place of the operating system's.
    #[must_use]
    pub fn certificate_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Goes through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` name. By default the
    /// environment is not asked: for plain `http` a proxy reads everything.
    #[must_use]
    pub fn proxy_from_environment(mut self) -> Self {
        self.environment_proxy = true;
        self
    }

    /// Sends with each call the fields that `add` adds: the trace that the caller is part of, say (W3C
    /// Trace Context), so that the service's spans stand below the caller's. `add` runs on the caller's
    /// task, once for all attempts of a call. A field that the client itself sends is the client's.
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

    /// The client. It connects at its first call.
    ///
    /// # Errors
    /// When the URL is none, or the HTTP client cannot be set up.
    pub fn build(self) -> Result<Client, BuildError> {
        let text = BaseUrl::new(self.url)?;
        // The rules above are stricter than those of the parser.
        let url = Url::parse(text.as_str()).map_err(|_| BaseUrlError::Host)?;
        if url.query().is_some() {
            return Err(BuildError::Query);
        }
        let mut http = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .connect_timeout(CONNECTED_WITHIN.min(self.limits.timeout / 2))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            // A token must go nowhere else.
            .redirect(redirect::Policy::none())
            // What may be repeated is decided in one place, and not there.
            .retry(retry::never());
        if !self.environment_proxy {
            http = http.no_proxy();
        }
        if let Some(pem) = self.authorities {
            let authorities = Certificate::from_pem_bundle(&pem).map_err(certificates)?;
            if authorities.is_empty() {
                return Err(certificates("there is none in the text"));
            }
            http = http.tls_certs_only(authorities);
        } else if url.scheme() == "http" && !self.environment_proxy {
            // There will be no TLS: it has to work where no certificates are installed.
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

/// A client cannot be set up like this.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The service's URL breaks a rule.
    #[error("the URL of the service: {0}")]
    Url(#[from] BaseUrlError),
    /// The service's URL has a query.
    #[error("the URL of the service: must not hold a query")]
    Query,
    /// The certificate authorities cannot be read.
    #[error("the certificate authorities cannot be read")]
    Certificates {
        /// What is wrong with them.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The HTTP client cannot be set up: with this user agent, or where no certificate authority is
    /// installed.
    #[error("the HTTP client cannot be set up")]
    Http {
        /// What it says.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}
