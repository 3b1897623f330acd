//! Settings: from text to what the other crates take.

mod keys;
mod listener;
mod service_clients;
mod sources;
mod tls;
mod traces;

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use tee_session_api_server::{
    ApiSettings, InvalidTokenLimit, LogFormat, NearCacheSettings, StoreKind,
};
use tee_session_domain::{PolicyError, SessionPolicy, SubjectLimit, WhenReached};
use tee_session_redis_adapter::{RedisSettings, StorageFormat};
use tracing::level_filters::LevelFilter;

pub(crate) use self::{
    keys::KEYS,
    listener::{LISTENER_KEYS, Listener},
    sources::{Problems, Sources},
    traces::TraceSettings,
};
use self::{service_clients::parse_service_clients, sources::Problem};

const CACHE_WITHOUT_TOUCH_INTERVAL: &str = "needs a session_touch_interval above 0: where every \
     access slides its session in Redis, every access changes it, and no copy is good for the next \
     one; set it to 60, say";

const NO_CLIENTS_OFF_LOOPBACK: &str = "service_clients must name at least one client when api_host \
     is not a loopback address, or everybody could create sessions: add a client, or listen on \
     127.0.0.1";

/// Every setting, valid.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) api: ApiSettings,
    /// `None`: the embedded store.
    pub(crate) redis: Option<RedisSettings>,
    pub(crate) memory_max_sessions: usize,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: LogFormat,
    /// `None`: nothing is recorded.
    pub(crate) traces: Option<TraceSettings>,
}

impl Settings {
    /// Takes every setting from its source, or tells all that is wrong.
    pub(crate) fn parse(sources: &Sources) -> Result<Self, Problems> {
        let mut reader = Reader {
            sources,
            problems: Vec::new(),
        };
        let api = reader.api_settings();
        let redis = reader.redis_settings(api.near_cache.is_some());
        let settings = Self {
            api: ApiSettings {
                store: if redis.is_some() {
                    StoreKind::Redis
                } else {
                    StoreKind::Memory
                },
                ..api
            },
            redis,
            memory_max_sessions: reader.number("memory_max_sessions", 1..=100_000_000),
            log_level: reader.parsed("log_level", parse_log_level, LevelFilter::INFO),
            log_format: reader.by_name("log_format"),
            traces: reader.trace_settings(),
        };
        if reader.problems.is_empty() {
            Ok(settings)
        } else {
            Err(Problems(reader.problems))
        }
    }
}

struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn api_settings(&mut self) -> ApiSettings {
        let address = self
            .address("api_host", "api_port")
            .unwrap_or(UNKNOWN_ADDRESS);
        let service_clients = self.parsed("service_clients", parse_service_clients, <_>::default());
        if service_clients.is_empty() && !address.ip().is_loopback() {
            self.problem("service_clients", NO_CLIENTS_OFF_LOOPBACK);
        }
        let policy = self.policy();
        ApiSettings {
            address,
            tls: self.tls_files(),
            workers: match self.number("workers", 0..=1_024) {
                0 => ApiSettings::default().workers,
                workers => workers,
            },
            near_cache: self.near_cache(&policy),
            policy,
            token_format: self.by_name("token_format"),
            allowed_base_hosts: self.by_name("allowed_base_hosts"),
            cors_allowed_origins: self.by_name("cors_allowed_origins"),
            max_in_flight: self.number("max_in_flight", 1..=1_000_000),
            answer_timeout: 2 * self.command_timeout(),
            max_body_bytes: self.number("max_body_bytes", 1_024..=16_777_216),
            invalid_token_limit: self.invalid_token_limit(),
            trusted_proxies: self.by_name("trusted_proxies"),
            readiness_requires_store: self.switch("readiness_requires_store"),
            shutdown_delay: Duration::from_secs(self.number("shutdown_delay", 0..=3_600)),
            shutdown_timeout: Duration::from_secs(self.number("shutdown_timeout", 1..=3_600)),
            metrics_address: self
                .sources
                .is_set("metrics_port")
                .then(|| self.address("metrics_host", "metrics_port"))
                .flatten(),
            trace_sampling: self.trace_sampling(),
            service_clients,
            ..ApiSettings::default()
        }
    }

    fn policy(&mut self) -> SessionPolicy {
        let longest = SessionPolicy::MAX.as_secs();
        let idle_timeout = Duration::from_secs(self.number("session_ttl", 1..=longest));
        let lifetime = self.number("session_max_lifetime", 0..=longest);
        let lifetime = (lifetime > 0).then(|| Duration::from_secs(lifetime));
        let touch_interval =
            Duration::from_secs(self.number("session_touch_interval", 0..=longest));
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
        const MOST: usize = 1_000;
        let max = NonZeroUsize::new(self.number("max_sessions_per_subject", 0..=MOST));
        let key = "max_sessions_per_subject_action";
        let when_reached = self.parsed(key, parse_when_reached, WhenReached::default());
        Some(SubjectLimit {
            max: max?,
            when_reached,
        })
    }

    fn near_cache(&mut self, policy: &SessionPolicy) -> Option<NearCacheSettings> {
        let settings = NearCacheSettings {
            max_stale: Duration::from_millis(self.number("near_cache_max_stale_ms", 100..=60_000)),
            max_entries: self.number("near_cache_max_entries", 100..=10_000_000),
            max_bytes: self.number("near_cache_max_bytes", 1_048_576..=1 << 36),
        };
        if !self.switch("near_cache") {
            return None;
        }
        if !self.sources.is_set("redis_url") {
            self.problem(
                "near_cache",
                "needs a redis_url: the embedded store is near already",
            );
        }
        if policy.touch_interval().is_zero() {
            self.problem("near_cache", CACHE_WITHOUT_TOUCH_INTERVAL);
        }
        Some(settings)
    }

    fn invalid_token_limit(&mut self) -> Option<InvalidTokenLimit> {
        const MOST: u32 = 1_000_000;
        let per_second = NonZeroU32::new(self.number("invalid_token_limit", 0..=MOST));
        let burst = NonZeroU32::new(self.number("invalid_token_burst", 1..=MOST));
        Some(InvalidTokenLimit::per_second(per_second?, burst?))
    }

    fn command_timeout(&mut self) -> Duration {
        Duration::from_millis(self.number("redis_command_timeout_ms", 10..=60_000))
    }

    fn redis_settings(&mut self, tells_changes: bool) -> Option<RedisSettings> {
        let format: StorageFormat = self.by_name("storage_format");
        let accept_plain = self.switch("accept_plain");
        let tls = self.redis_tls();
        if !self.sources.is_set("redis_url") {
            // Rather than serve from memory where somebody meant Redis.
            if tls.is_some() {
                self.problem("redis_url", "must be set where a redis_tls key is");
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
        if tells_changes {
            settings = self.or_problem("near_cache", settings?.telling_changes());
        }
        settings
    }

    fn or_problem<T>(&mut self, key: &'static str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.problem(key, error)).ok()
    }

    fn address(&mut self, host: &'static str, port: &'static str) -> Option<SocketAddr> {
        let port = self.number(port, 0..=u16::MAX);
        self.parsed(
            host,
            |name| match (name, port).to_socket_addrs().map(|mut found| found.next()) {
                Ok(Some(address)) => Ok(Some(address)),
                _ => Err("must be an IP address, or a name that resolves to one"),
            },
            None,
        )
    }

    fn number<T>(&mut self, key: &'static str, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let lowest = *range.start();
        self.parsed(
            key,
            |text| match text.parse() {
                Ok(number) if range.contains(&number) => Ok(number),
                _ => Err(format!(
                    "must be a whole number from {lowest} to {}",
                    range.end()
                )),
            },
            lowest,
        )
    }

    fn switch(&mut self, key: &'static str) -> bool {
        self.parsed(
            key,
            |text| text.parse().map_err(|_| "must be true or false"),
            false,
        )
    }

    fn by_name<T>(&mut self, key: &'static str) -> T
    where
        T: FromStr<Err: Display> + Default,
    {
        self.parsed(key, str::parse, T::default())
    }

    /// Parses one setting. What is wrong is noted; `stand_in` then goes on in its place.
    fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        stand_in: T,
    ) -> T {
        match parse(self.sources.text(key)) {
            Ok(value) => value,
            Err(allowed) => {
                self.problem(key, allowed);
                stand_in
            }
        }
    }

    fn problem(&mut self, key: &'static str, allowed: impl Display) {
        let source = self.sources.source(key).to_string();
        self.problems.push(Problem {
            key: key.to_owned(),
            source,
            allowed: allowed.to_string(),
        });
    }
}

/// Stands in for an address that cannot be used, without causing further complaints.
const UNKNOWN_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn parse_when_reached(text: &str) -> Result<WhenReached, &'static str> {
    match text {
        "evict_oldest" => Ok(WhenReached::EvictOldest),
        "refuse" => Ok(WhenReached::Refuse),
        _ => Err("must be evict_oldest or refuse"),
    }
}

fn parse_log_level(text: &str) -> Result<LevelFilter, &'static str> {
    match text.to_ascii_uppercase().as_str() {
        "ERROR" => Ok(LevelFilter::ERROR),
        "WARN" => Ok(LevelFilter::WARN),
        "INFO" => Ok(LevelFilter::INFO),
        "DEBUG" => Ok(LevelFilter::DEBUG),
        "TRACE" => Ok(LevelFilter::TRACE),
        _ => Err("must be ERROR, WARN, INFO, DEBUG or TRACE"),
    }
}

#[cfg(test)]
mod tests;
