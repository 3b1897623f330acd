//! Settings of the HTTP client for sites.

use std::time::Duration;

use crate::login::LoginSignals;

/// Settings of a [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Path prefix of the gateway, such as `/v1/upstream`, without a slash at its end. Redirects
    /// within a site get this prefix.
    pub prefix: &'static str,
    /// Value of the header field `Via` (RFC 9110, section 7.6.3) that is added to each answer.
    pub via: &'static str,
    /// Value of `User-Agent` for the site. `None` passes on the value of the client.
    pub user_agent: Option<String>,
    /// Signals by which a site shows that the user is no longer logged in.
    pub login: LoginSignals,
    /// Maximum time to establish a connection: name resolution, TCP and TLS handshake together.
    pub connect_timeout: Duration,
    /// Maximum time from the start of the request to the end of the answer's head.
    pub response_timeout: Duration,
    /// Maximum time without new bytes while the body of an answer is read.
    pub stall_timeout: Duration,
    /// Maximum length of the body of an answer, in bytes. `None` for no limit.
    pub max_response_bytes: Option<u64>,
    /// Time after which an idle connection to a site is closed.
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
