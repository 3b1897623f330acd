//! Settings of the client.

use std::time::Duration;

use crate::login::LoginSignals;

/// Settings of a [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Path under which the gateway serves the site, without a slash at its end. Redirects within
    /// the site lead there.
    pub prefix: &'static str,
    /// Value of the header field `Via` (RFC 9110, section 7.6.3) that is added to each answer.
    pub via: &'static str,
    /// Value of `User-Agent` that is sent in place of the one of the client.
    pub user_agent: Option<String>,
    /// Signals by which a site shows that a login is over.
    pub login: LoginSignals,
    /// Maximum time to look up the name of the site, to connect, and for the TLS handshake,
    /// together.
    pub connect_timeout: Duration,
    /// Maximum time from sending the request to the whole head of the answer.
    pub response_timeout: Duration,
    /// Maximum time to wait for the next bytes of the body of an answer.
    pub stall_timeout: Duration,
    /// Maximum length of the body of an answer, in bytes. `None`: no limit.
    pub max_response_bytes: Option<u64>,
    /// Time after which an idle connection is closed.
    pub idle_timeout: Duration,
    /// Maximum number of idle connections to one site.
    pub max_idle_per_site: usize,
    /// Maximum number of idle connections to all sites.
    pub max_idle: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            prefix: "/v1/upstream",
            via: "1.1 tee-session",
            user_agent: None,
            login: LoginSignals::default(),
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(15),
            max_response_bytes: Some(16 * 1_024 * 1_024),
            idle_timeout: Duration::from_secs(60),
            max_idle_per_site: 32,
            max_idle: 256,
        }
    }
}
