//! What the server is told.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use tee_session_auth_middleware::{InvalidTokenLimit, TrustedProxies};
use tee_session_domain::{AllowedHosts, SessionPolicy, TokenFormat};
use tee_session_near_cache::NearCacheSettings;

use crate::{AllowedOrigins, ServiceClients, TlsFiles, TraceSampling};

const DEFAULT_INVALID_TOKEN_LIMIT: InvalidTokenLimit =
    InvalidTokenLimit::per_second(NonZeroU32::new(100).unwrap(), NonZeroU32::new(300).unwrap());

/// What an [`Application`](crate::Application) is told. Start from [`Default`].
///
/// ```
/// use tee_session_api_server::ApiSettings;
///
/// let settings = ApiSettings { workers: 1, ..ApiSettings::default() };
/// assert!(settings.address.ip().is_loopback());
/// ```
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where to listen; port 0 picks a free one.
    pub address: SocketAddr,
    /// The certificate for HTTPS; `None`: plain HTTP, for behind a gateway that ends TLS.
    pub tls: Option<TlsFiles>,
    /// How many worker threads; each gets a repository of its own.
    pub workers: usize,
    /// How long sessions live.
    pub policy: SessionPolicy,
    /// The bounds of a near cache, which needs a touch interval in `policy`, and somebody who tells
    /// [`Application::near_cache`](crate::Application::near_cache) of changes; `None`: every request
    /// asks the repository.
    pub near_cache: Option<NearCacheSettings>,
    /// How new tokens look.
    pub token_format: TokenFormat,
    /// Which sites sessions may belong to.
    pub allowed_base_hosts: AllowedHosts,
    /// The origins whose pages may use the API from a browser.
    pub cors_allowed_origins: AllowedOrigins,
    /// The store behind the repository, as `/health` names it.
    pub store: StoreKind,
    /// Most bytes of a request body.
    pub max_body_bytes: usize,
    /// Most requests in flight at once in the whole process; more are 503 `overloaded` at once.
    /// `/health` and what is below it does not count among those that are turned away.
    pub max_in_flight: usize,
    /// An answer that takes several calls of the repository takes no longer than this, from the
    /// moment at which its request was read: then it is 503, whatever the store does. Twice what
    /// one call may take.
    pub answer_timeout: Duration,
    /// How many invalid tokens of one client are answered with 401 before it is 429; `None`: all.
    pub invalid_token_limit: Option<InvalidTokenLimit>,
    /// The proxies whose word on where a request comes from is believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether `/health/ready` is 503 while the store is away, and not only before it was there.
    pub readiness_requires_store: bool,
    /// How long to go on serving, not ready any more, after the stop was asked for.
    pub shutdown_delay: Duration,
    /// How long requests in flight have to finish after that.
    pub shutdown_timeout: Duration,
    /// Where to serve `/metrics`; `None`: nowhere, and nothing is counted.
    pub metrics_address: Option<SocketAddr>,
    /// Selects the requests whose spans are exported; `None`: all but probes, if a layer exports spans.
    /// Callers' spans are read by OpenTelemetry's global propagator.
    pub trace_sampling: Option<TraceSampling>,
    /// Who may create, introspect, revoke, list and end sessions; none: anybody who can reach a
    /// loopback address.
    pub service_clients: ServiceClients,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8000)),
            tls: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            policy: SessionPolicy::default(),
            near_cache: None,
            token_format: TokenFormat::default(),
            allowed_base_hosts: AllowedHosts::default(),
            cors_allowed_origins: AllowedOrigins::default(),
            store: StoreKind::Memory,
            max_body_bytes: 65_536,
            max_in_flight: 4_096,
            answer_timeout: Duration::from_secs(1),
            invalid_token_limit: Some(DEFAULT_INVALID_TOKEN_LIMIT),
            trusted_proxies: TrustedProxies::default(),
            readiness_requires_store: true,
            shutdown_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(15),
            metrics_address: None,
            trace_sampling: None,
            service_clients: ServiceClients::default(),
        }
    }
}

/// The store behind the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// Sessions live in this process and end with it.
    Memory,
    /// Sessions live in Redis.
    Redis,
}

impl StoreKind {
    /// The name in `/health` and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
}
