//! Settings of the HTTP API server.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use tee_session_auth_middleware::{InvalidTokenLimit, TrustedProxies};
use tee_session_domain::{AllowedHosts, SessionPolicy, TokenFormat};
use tee_session_near_cache::NearCacheSettings;
use tee_session_upstream::{
    AddressPolicy, ClientSettings, ExchangeLimitSettings, rustls::ClientConfig,
};

use crate::{AllowedOrigins, ServiceClients, TlsFiles, TraceSampling};

const DEFAULT_INVALID_TOKEN_LIMIT: InvalidTokenLimit =
    InvalidTokenLimit::per_second(NonZeroU32::new(100).unwrap(), NonZeroU32::new(300).unwrap());

/// Settings of an [`Application`](crate::Application). Start from [`ApiSettings::default`] and
/// change single fields.
///
/// ```
/// use tee_session_api_server::ApiSettings;
///
/// let settings = ApiSettings { workers: 1, ..ApiSettings::default() };
/// assert!(settings.address.ip().is_loopback());
/// ```
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Address on which the API listens. Port 0 selects a free port.
    pub address: SocketAddr,
    /// Certificate and private key for HTTPS. With `None`, the API is served over plain HTTP, for
    /// use behind a gateway that terminates TLS.
    pub tls: Option<TlsFiles>,
    /// Number of worker threads. Each worker thread has its own repository.
    pub workers: usize,
    /// Lifetimes of sessions, touch interval (minimum time between two renewals of the TTL of a
    /// session), and maximum number of sessions per subject.
    pub policy: SessionPolicy,
    /// Limits of the near cache (copies of sessions in the memory of this process). With `None`,
    /// there is no near cache, and every request reads from the repository.
    ///
    /// A near cache requires a touch interval greater than zero in `policy`. An invalidation feed,
    /// which reports changed sessions, must be connected to
    /// [`Application::near_cache`](crate::Application::near_cache).
    pub near_cache: Option<NearCacheSettings>,
    /// Format of new session tokens.
    pub token_format: TokenFormat,
    /// Hosts that are allowed in the base URL of a session.
    pub allowed_base_hosts: AllowedHosts,
    /// Origins whose pages may call the API from a browser (CORS).
    pub cors_allowed_origins: AllowedOrigins,
    /// Kind of the store behind the repository, as reported by `/health`.
    pub store: StoreKind,
    /// Maximum size of the body of an API request, in bytes.
    pub max_body_bytes: usize,
    /// Maximum number of requests in flight in the whole process. Requests whose body is still
    /// arriving are not included. A separate limit of the same size applies to bodies that are
    /// still arriving. Further requests are answered with 503 `overloaded` at once. Requests to
    /// `/health` and to paths below `/health` are always served.
    pub max_in_flight: usize,
    /// Maximum number of open client connections. At the limit, the longest-idle connections are
    /// closed to make room for a new connection. A connection whose request is being handled is
    /// never closed for this purpose. If no connection is idle, up to
    /// [`RESERVED_CONNECTIONS`](crate::RESERVED_CONNECTIONS) further connections are accepted, on
    /// which only health probes are answered.
    pub max_connections: usize,
    /// Maximum number of open connections from one client address. The addresses of one IPv6 /64
    /// network count as one address. At the limit, the longest-idle connections of the address are
    /// closed to make room for a new connection. The connections of `trusted_proxies` are not
    /// counted. With `None`, there is no such limit.
    pub max_connections_per_address: Option<usize>,
    /// Maximum time to answer a request that requires several repository calls. After this time,
    /// the request is answered with 503 `store_unavailable`. An operation that ends sessions
    /// continues after the response.
    ///
    /// The limit does not apply to requests that create or rotate a session (see `call_timeout`),
    /// or to requests that require the scope `admin`.
    ///
    /// The time starts when the request head has been read. The time that the client takes to send
    /// the request body does not count. The value should be twice the timeout of one repository
    /// call.
    pub answer_timeout: Duration,
    /// Timeout of one repository call. The repository itself applies this timeout. In a partitioned
    /// store (a Redis Cluster), the move of a session to a new token has two steps, and each step
    /// has this timeout. A request that creates or rotates a session makes up to five calls, and
    /// cannot be aborted between these calls. The request is therefore answered after at most five
    /// times this timeout.
    pub call_timeout: Duration,
    /// Limit for the invalid tokens of each client. Invalid tokens within the limit are answered
    /// with 401, and further invalid tokens with 429. With `None`, there is no limit.
    pub invalid_token_limit: Option<InvalidTokenLimit>,
    /// Proxies from which the client address in `X-Forwarded-For` is accepted.
    pub trusted_proxies: TrustedProxies,
    /// If `true`, `/health/ready` returns 503 whenever the store is unavailable. If `false`,
    /// `/health/ready` returns 503 only until the store has been available for the first time, and
    /// then ignores the store. During shutdown, `/health/ready` always returns 503.
    pub readiness_requires_store: bool,
    /// Time for which requests are still served after the shutdown has begun. During this time,
    /// `/health/ready` already returns 503.
    pub shutdown_delay: Duration,
    /// Maximum time at shutdown, after `shutdown_delay`, to finish requests in flight and to close
    /// the store. At most one second of this time is reserved for closing the store. Requests that
    /// are not finished in time are aborted.
    pub shutdown_timeout: Duration,
    /// Address that serves `/metrics`. With `None`, metrics are neither served nor collected.
    pub metrics_address: Option<SocketAddr>,
    /// Selects the requests whose spans are exported. With `None`, the spans of all requests except
    /// for health probes are exported. In both cases, a `tracing` layer that exports spans must be
    /// installed.
    ///
    /// OpenTelemetry's global propagator reads the parent span from the headers of a request.
    pub trace_sampling: Option<TraceSampling>,
    /// Service clients. Each of them may create, introspect, revoke, or list and end sessions, as
    /// its scopes allow.
    ///
    /// If there are no service clients, every client that can reach the API may do all of this
    /// without a credential. `address` must then be a loopback address. If sessions are stored in
    /// Redis, `allow_anonymous_clients` must also be `true`.
    pub service_clients: ServiceClients,
    /// If `true`, the API also starts without service clients if sessions are stored in Redis.
    /// `address` must still be a loopback address, and requests with a sign of a proxy are still
    /// rejected.
    pub allow_anonymous_clients: bool,
    /// If `true`, no response contains the value of a cookie, and a patch cannot move a session to
    /// another site. Clients can use the login only through the upstream gateway.
    pub hide_cookies: bool,
    /// Settings of the upstream gateway (`/v1/upstream`). With `None`, the gateway is disabled. The
    /// gateway requires `allowed_base_hosts`.
    pub upstream: Option<UpstreamSettings>,
    /// If `true`, one line is logged for each request, at every log level. The line contains
    /// neither the path nor the query of the request.
    pub access_log: bool,
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
            max_connections: 10_000,
            max_connections_per_address: Some(5_000),
            answer_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_millis(500),
            invalid_token_limit: Some(DEFAULT_INVALID_TOKEN_LIMIT),
            trusted_proxies: TrustedProxies::default(),
            readiness_requires_store: true,
            shutdown_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(15),
            metrics_address: None,
            trace_sampling: None,
            service_clients: ServiceClients::default(),
            allow_anonymous_clients: false,
            hide_cookies: false,
            upstream: None,
            access_log: false,
        }
    }
}

impl ApiSettings {
    /// Returns the conflicts between these settings. If there is a conflict, the API does not
    /// start.
    #[must_use]
    pub fn conflicts(&self) -> Vec<SettingsConflict> {
        let is_anonymous = self.service_clients.is_empty();
        let is_local = self.address.ip().is_loopback();
        let is_open = is_anonymous && !is_local;
        // A first try of the service needs no Redis. With Redis, access without credentials is
        // allowed only if it is set on purpose.
        let is_unintended = is_anonymous
            && is_local
            && self.store == StoreKind::Redis
            && !self.allow_anonymous_clients;
        let is_cache_useless = self.near_cache.is_some() && self.policy.touch_interval().is_zero();
        let open = is_open.then_some(SettingsConflict::OpenToAll);
        let unintended = is_unintended.then_some(SettingsConflict::AnonymousWithRedis);
        let useless = is_cache_useless.then_some(SettingsConflict::CacheWithoutTouchInterval);
        let is_one_address = self
            .metrics_address
            .is_some_and(|address| overlap(address, self.address));
        let one_address = is_one_address.then_some(SettingsConflict::OneAddress);
        let is_unlimited = self.upstream.is_some() && self.allowed_base_hosts.is_empty();
        let unlimited = is_unlimited.then_some(SettingsConflict::UpstreamToEveryHost);
        let conflicts = [open, unintended, useless, one_address, unlimited];
        conflicts.into_iter().flatten().collect()
    }
}

/// Returns `true` if two listeners cannot be bound to `one` and `other` at the same time. The
/// unspecified address contains every address of its family. `::` also contains every IPv4 address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let contains = |ip: IpAddr, other: IpAddr| {
        ip == other || ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4())
    };
    let (one_ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    // With port 0, each listener gets a free port of its own.
    one.port() == other.port()
        && one.port() != 0
        && (contains(one_ip, other_ip) || contains(other_ip, one_ip))
}

/// A combination of settings with which the API does not start. The error messages name the
/// settings of the `tee-session` service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsConflict {
    /// The address is not a loopback address, and there are no service clients.
    #[error(
        "service_clients must name at least one client when api_host is not a loopback address, \
         because anyone could create sessions otherwise: add a client with `tee-session client new \
         --id ID --scope create`, or listen on 127.0.0.1"
    )]
    OpenToAll,
    /// There are no service clients, the store is Redis, and `allow_anonymous_clients` is not set.
    #[error(
        "service_clients must name at least one client when redis_url is set: add a client with \
         `tee-session client new --id ID --scope create`, or, if only trusted programs can reach this \
         loopback address, set allow_anonymous_clients = true"
    )]
    AnonymousWithRedis,
    /// A near cache is configured, but the touch interval is zero.
    #[error(
        "near_cache requires a session_touch_interval above 0: with 0, every access changes the \
         session in Redis, which invalidates each cached copy before it can be used; set the \
         interval to 60, for example"
    )]
    CacheWithoutTouchInterval,
    /// The API and the metrics have the same port, and the same address or an address that contains
    /// the other one.
    #[error(
        "metrics_port and api_port name the same port on the same address (0.0.0.0 and [::] contain the \
         other addresses): choose another port for one of them"
    )]
    OneAddress,
    /// The upstream gateway is enabled, but base URLs may have any host.
    #[error(
        "upstream_gateway requires allowed_base_hosts, because anyone who can create a session could \
         otherwise let the service call every host: list the hosts of the sites"
    )]
    UpstreamToEveryHost,
}

/// Settings of the upstream gateway.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// TLS configuration for connections to sites. The configuration determines the accepted server
    /// certificates.
    pub tls: Arc<ClientConfig>,
    /// Rules for the addresses that the gateway may connect to.
    pub addresses: AddressPolicy,
    /// Timeouts and limits of the HTTP client that each worker uses for requests to sites.
    pub client: ClientSettings,
    /// Limits on the concurrent exchanges with sites in this process.
    pub limits: ExchangeLimitSettings,
    /// Maximum size of the body of a request to a site, in bytes. The body is kept in memory until
    /// it is sent.
    pub max_request_bytes: usize,
}

/// Kind of the store behind a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// Sessions are stored in the memory of this process and are lost when the process ends.
    Memory,
    /// Sessions are stored in Redis.
    Redis,
}

impl StoreKind {
    /// Returns the name of the store in `/health` and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::same_address("127.0.0.1:8000", "127.0.0.1:8000", true)]
    #[case::api_on_all_addresses("0.0.0.0:8000", "127.0.0.1:8000", true)]
    #[case::metrics_on_all_addresses("127.0.0.1:8000", "0.0.0.0:8000", true)]
    #[case::api_on_all_addresses_of_both_families("[::]:8000", "127.0.0.1:8000", true)]
    #[case::both_on_all_addresses("0.0.0.0:8000", "[::]:8000", true)]
    #[case::other_family("0.0.0.0:8000", "[::1]:8000", false)]
    #[case::other_address("127.0.0.1:8000", "127.0.0.2:8000", false)]
    #[case::other_port("0.0.0.0:8000", "127.0.0.1:9000", false)]
    #[case::free_ports("0.0.0.0:0", "127.0.0.1:0", false)]
    fn api_and_metrics_on_the_same_port_of_overlapping_addresses_are_a_conflict(
        #[case] api: &str,
        #[case] metrics: &str,
        #[case] is_conflict: bool,
    ) {
        let settings = ApiSettings {
            address: api.parse().unwrap(),
            metrics_address: Some(metrics.parse().unwrap()),
            ..ApiSettings::default()
        };
        let conflicts = settings.conflicts();
        assert_eq!(
            conflicts.contains(&SettingsConflict::OneAddress),
            is_conflict
        );
    }
}
