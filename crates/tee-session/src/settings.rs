//! Settings of the service: parses the text of each setting into the types that the other crates
//! use.

#[cfg(test)]
mod generated;
mod keys;
mod listener;
mod parse;
mod reader;
mod service_clients;
mod sources;
mod suggestion;
mod tls;
mod traces;
mod unknown_variables;
mod upstream;
mod without_effect;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use tee_session_api_server::{
    ApiSettings, InvalidTokenLimit, LogFormat, NearCacheSettings, ServiceClient, ServiceClients,
    SettingsConflict, StoreKind,
};
use tee_session_domain::{AtLimit, PolicyError, SessionPolicy, SubjectLimit};
use tee_session_redis_adapter::{RedisSettings, StorageFormat};
use tracing::level_filters::LevelFilter;

use self::reader::Reader;
pub(crate) use self::service_clients::parse_service_clients;
pub(crate) use self::{
    keys::KEYS,
    listener::{LISTENER_KEYS, Listener},
    sources::{Problems, Sources},
    traces::TraceSettings,
};

/// All settings of the service, parsed and validated.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) api: ApiSettings,
    /// Redis settings; `None` selects the embedded store, which keeps sessions in memory.
    pub(crate) redis: Option<RedisSettings>,
    /// File with the client certificate for Redis; `None` if no client certificate is sent.
    pub(crate) redis_certificate_file: Option<PathBuf>,
    pub(crate) memory_max_sessions: usize,
    /// Service clients at the start. The running service replaces its clients when
    /// `service_clients_file` changes.
    pub(crate) service_clients: Vec<ServiceClient>,
    /// File from which the service clients were read; `None` if they were not given as a file.
    pub(crate) service_clients_file: Option<PathBuf>,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: LogFormat,
    /// Settings for the export of traces; `None` if no traces are exported.
    pub(crate) traces: Option<TraceSettings>,
    /// Warnings about valid settings that have no effect or allow more than intended.
    pub(crate) warnings: Vec<String>,
}

impl Reader<'_> {
    fn api_settings(&mut self, service_clients: Vec<ServiceClient>) -> ApiSettings {
        let address = self
            .address("api_host", "api_port")
            .unwrap_or(UNKNOWN_ADDRESS);
        let policy = self.policy();
        let settings = ApiSettings {
            address,
            tls: self.tls_files(),
            workers: match self.number("workers") {
                0 => ApiSettings::default().workers,
                workers => workers,
            },
            near_cache: self.near_cache(),
            policy,
            token_format: self.choice("token_format"),
            allowed_base_hosts: self.by_name("allowed_base_hosts"),
            cors_allowed_origins: self.by_name("cors_allowed_origins"),
            max_in_flight: self.number("max_in_flight"),
            max_connections: self.number("max_connections"),
            max_connections_per_address: self.max_connections_per_address(),
            answer_timeout: 2 * self.command_timeout(),
            call_timeout: self.command_timeout(),
            max_body_bytes: self.number("max_body_bytes"),
            invalid_token_limit: self.invalid_token_limit(),
            trusted_proxies: self.by_name("trusted_proxies"),
            readiness_requires_store: self.switch("readiness_requires_store"),
            shutdown_delay: Duration::from_secs(self.number("shutdown_delay")),
            shutdown_timeout: Duration::from_secs(self.number("shutdown_timeout")),
            metrics_address: self
                .sources
                .is_set("metrics_port")
                .then(|| self.address("metrics_host", "metrics_port"))
                .flatten(),
            trace_sampling: self.trace_sampling(),
            service_clients: ServiceClients::new(service_clients),
            allow_anonymous_clients: self.switch("allow_anonymous_clients"),
            access_log: self.switch("access_log"),
            hide_cookies: self.switch("hide_cookies"),
            upstream: self.upstream_settings(),
            store: if self.sources.is_set("redis_url") {
                StoreKind::Redis
            } else {
                StoreKind::Memory
            },
        };
        for conflict in settings.conflicts() {
            let key = match conflict {
                SettingsConflict::OpenToAll | SettingsConflict::AnonymousWithRedis => {
                    "service_clients"
                }
                SettingsConflict::CacheWithoutTouchInterval => "near_cache",
                SettingsConflict::OneAddress => "metrics_port",
                SettingsConflict::UpstreamToEveryHost => "upstream_gateway",
            };
            self.problem(key, conflict);
        }
        settings
    }

    fn policy(&mut self) -> SessionPolicy {
        let idle_timeout = Duration::from_secs(self.number("session_ttl"));
        let lifetime = self.number("session_max_lifetime");
        let lifetime = (lifetime > 0).then(|| Duration::from_secs(lifetime));
        let touch_interval = Duration::from_secs(self.number("session_touch_interval"));
        let subject_limit = self.subject_limit();
        let policy = SessionPolicy::new(idle_timeout, lifetime)
            .and_then(|policy| policy.with_touch_interval(touch_interval))
            .map(|policy| policy.with_subject_limit(subject_limit));
        policy.unwrap_or_else(|error| {
            let key = match error {
                PolicyError::IdleTimeout => "session_ttl",
                PolicyError::AbsoluteLifetime => "session_max_lifetime",
                PolicyError::TouchInterval => "session_touch_interval",
            };
            self.problem(key, error);
            SessionPolicy::default()
        })
    }

    fn subject_limit(&mut self) -> Option<SubjectLimit> {
        let max = NonZeroUsize::new(self.number("max_sessions_per_subject"));
        let key = "max_sessions_per_subject_action";
        let when_reached = self.parsed(key, parse_when_reached, AtLimit::default());
        Some(SubjectLimit {
            max: max?,
            when_reached,
        })
    }

    fn max_connections_per_address(&mut self) -> Option<usize> {
        if !self.sources.is_set("max_connections_per_address") {
            let max: usize = self.number("max_connections");
            return Some((max / 2).max(1));
        }
        Some(self.number("max_connections_per_address")).filter(|limit| *limit > 0)
    }

    fn near_cache(&mut self) -> Option<NearCacheSettings> {
        let settings = NearCacheSettings {
            max_stale: Duration::from_millis(self.number("near_cache_max_stale_ms")),
            max_entries: self.number("near_cache_max_entries"),
            max_bytes: self.number("near_cache_max_bytes"),
        };
        if !self.switch("near_cache") {
            return None;
        }
        if !self.sources.is_set("redis_url") {
            self.problem(
                "near_cache",
                "near_cache requires redis_url: the embedded store needs no cache",
            );
        }
        Some(settings)
    }

    fn invalid_token_limit(&mut self) -> Option<InvalidTokenLimit> {
        let per_second = NonZeroU32::new(self.number("invalid_token_limit"));
        let burst = NonZeroU32::new(self.number("invalid_token_burst"));
        Some(InvalidTokenLimit::per_second(per_second?, burst?))
    }

    fn command_timeout(&mut self) -> Duration {
        Duration::from_millis(self.number("redis_command_timeout_ms"))
    }

    fn redis_settings(&mut self, needs_invalidation_feed: bool) -> Option<RedisSettings> {
        let format: StorageFormat = self.choice("storage_format");
        let accept_plain = self.switch("accept_plain");
        let tls = self.redis_tls();
        if !self.sources.is_set("redis_url") {
            // TLS files for Redis without a Redis URL are an error. The operator expects sessions
            // in Redis, so the service must not silently use the embedded store.
            if tls.is_some() {
                self.problem(
                    "redis_url",
                    "redis_url must be set if a redis_tls key is set",
                );
            }
            return None;
        }
        let mut settings =
            self.parsed("redis_url", |url| RedisSettings::new(url).map(Some), None)?;
        if let Some(file) = self.sources.secret_file("redis_url") {
            settings = settings.with_url_file(file);
        }
        let settings = self.with_redis_tls(settings, tls)?;
        let settings = settings
            .with_command_timeout(self.command_timeout())
            .with_storage_format(format);
        let mut settings = Some(settings);
        if accept_plain {
            settings = self.or_problem("accept_plain", settings?.accepting_plain());
        }
        if needs_invalidation_feed {
            settings = self.or_problem("near_cache", settings?.with_invalidation_feed());
        }
        settings
    }
}

/// Address that replaces an invalid listen address while the other settings are checked. A loopback
/// address requires no service clients, so missing service clients are not reported as a second
/// problem.
const UNKNOWN_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn parse_when_reached(text: &str) -> Result<AtLimit, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "evict_oldest" => Ok(AtLimit::EvictOldest),
        "refuse" => Ok(AtLimit::Refuse),
        _ => Err("the action must be evict_oldest or refuse"),
    }
}

#[cfg(test)]
mod tests;
