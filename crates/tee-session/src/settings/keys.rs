//! The settings by name: the one table that file, environment, flags and help follow.

/// One setting. Its name is `session_ttl` in the file, `TSA_SESSION_TTL` in the environment and
/// `--session-ttl` as a flag.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The default as text; empty: not set.
    pub(crate) default: &'static str,
    pub(crate) value_name: &'static str,
    pub(crate) help: &'static str,
    /// Never shown, and also readable from a file named by `<name>_file`.
    pub(crate) is_secret: bool,
}

impl Key {
    const fn new(
        name: &'static str,
        default: &'static str,
        value_name: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            default,
            value_name,
            help,
            is_secret: false,
        }
    }

    const fn secret(self) -> Self {
        Self {
            is_secret: true,
            ..self
        }
    }

    /// The names under which it can be given.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + use<> {
        let file = self.is_secret.then(|| format!("{}_file", self.name));
        [Some(self.name.to_owned()), file].into_iter().flatten()
    }

    pub(crate) fn full_help(&self) -> String {
        let default = if self.default.is_empty() {
            "not set"
        } else {
            self.default
        };
        let file = if self.is_secret {
            ", or from a file with the suffix -file"
        } else {
            ""
        };
        format!(
            "{}{file} [env: {}] [default: {default}]",
            self.help,
            environment_name(self.name)
        )
    }

    pub(crate) fn file_help(&self) -> String {
        format!("File to read --{} from", self.name.replace('_', "-"))
    }
}

pub(crate) fn environment_name(name: &str) -> String {
    format!("TSA_{}", name.to_ascii_uppercase())
}

/// Every setting.
pub(crate) const KEYS: &[Key] = &[
    Key::new("api_host", "127.0.0.1", "HOST", "Address to listen on"),
    Key::new("api_port", "8000", "PORT", "Port to listen on; 0 picks a free one"),
    Key::new("tls_certificate_file", "", "FILE", "Certificate chain (PEM) to serve HTTPS with, looked at anew all the time; not set: plain HTTP"),
    Key::new("tls_private_key_file", "", "FILE", "Private key (PEM) of that certificate"),
    Key::new("workers", "0", "N", "HTTP worker threads, each with its own Redis connection; 0: one per core"),
    Key::new("redis_url", "", "URL", "Redis to keep sessions in; not set: they live in this process and end with it").secret(),
    Key::new("redis_tls_ca_file", "", "FILE", "With a rediss URL: certificate authorities (PEM) to trust; not set: the machine's"),
    Key::new("redis_tls_certificate_file", "", "FILE", "With a rediss URL: client certificate (PEM) to show"),
    Key::new("redis_tls_private_key_file", "", "FILE", "Private key (PEM) of that certificate"),
    Key::new("redis_command_timeout_ms", "500", "MS", "Milliseconds one Redis command may take; an answer takes at most twice this"),
    Key::new("storage_format", "sealed", "FORMAT", "What is written to Redis: sealed (encrypted with the token) or plain"),
    Key::new("accept_plain", "false", "BOOL", "With storage_format sealed: also read plain records and seal them when they are accessed"),
    Key::new("token_format", "uuid", "FORMAT", "How new tokens look: uuid (122 random bits) or opaque (256)"),
    Key::new("allowed_base_hosts", "", "HOSTS", "Hosts that base_url may name, separated by commas; .example.com stands for subdomains; not set: all"),
    Key::new("cors_allowed_origins", "", "ORIGINS", "Origins whose pages may use the API from a browser, separated by commas; not set: none"),
    Key::new("memory_max_sessions", "100000", "N", "Most live sessions in the embedded store"),
    Key::new("session_ttl", "1800", "SECONDS", "Idle timeout of a session; slides at each access"),
    Key::new("session_touch_interval", "0", "SECONDS", "An access slides a session at most so often; 0: each does"),
    Key::new("near_cache", "false", "BOOL", "Keep hot sessions in this process, with revocation by push; needs Redis and session_touch_interval"),
    Key::new("near_cache_max_stale_ms", "1000", "MILLISECONDS", "Serve no copy for longer after Redis last showed that it tells of changes"),
    Key::new("near_cache_max_entries", "100000", "N", "Most sessions in the near cache"),
    Key::new("near_cache_max_bytes", "67108864", "BYTES", "Most memory that they take"),
    Key::new("session_max_lifetime", "0", "SECONDS", "Absolute lifetime of a session; 0: none"),
    Key::new("max_sessions_per_subject", "0", "N", "Most live sessions of one subject; 0: any number"),
    Key::new("max_sessions_per_subject_action", "evict_oldest", "ACTION", "When a subject with so many logs in: evict_oldest ends its oldest session, refuse answers 409"),
    Key::new("max_body_bytes", "65536", "BYTES", "Most bytes of a request body"),
    Key::new("max_in_flight", "4096", "N", "Most requests in flight at once; more are answered 503 at once"),
    Key::new("invalid_token_limit", "100", "N", "Invalid tokens a second from one address that are answered 401; more are 429; 0: no limit"),
    Key::new("invalid_token_burst", "300", "N", "Invalid tokens at once from one address that are answered 401"),
    Key::new("trusted_proxies", "", "NETWORKS", "Addresses or networks of proxies, and of nobody else, whose X-Forwarded-For is believed, separated by commas; not set: none"),
    Key::new("readiness_requires_store", "true", "BOOL", "Whether /health/ready is 503 while the store is away, not only before it was there"),
    Key::new("shutdown_delay", "0", "SECONDS", "Time to go on serving after a stop was asked for, so that load balancers notice"),
    Key::new("shutdown_timeout", "15", "SECONDS", "Time that requests in flight have to finish after that"),
    Key::new("metrics_host", "127.0.0.1", "HOST", "Address to serve /metrics on"),
    Key::new("metrics_port", "", "PORT", "Port to serve /metrics on; not set: no metrics"),
    Key::new("log_level", "INFO", "LEVEL", "Least severe events to log: ERROR, WARN, INFO, DEBUG or TRACE"),
    Key::new("log_format", "json", "FORMAT", "How to log: json or text"),
    Key::new("traces_otlp_endpoint", "", "URL", "OpenTelemetry collector (OTLP over HTTP) to send traces to, such as http://127.0.0.1:4318; not set: no traces"),
    Key::new("traces_otlp_headers", "", "NAME=VALUE", "Header fields to send it, separated by commas: a key of its own, say").secret(),
    Key::new("traces_sample_ratio", "1", "RATIO", "Part of the requests that are recorded where the caller leaves it open, 0 to 1"),
    Key::new("traces_max_per_second", "100", "N", "Most requests a second that are recorded, whatever callers ask for"),
    Key::new("service_clients", "", "JSON", "Who may create, introspect, revoke, list and end sessions: [{\"id\", \"secret_sha256\", \"scopes\": [\"create\"]}]; see tee-session client new; required off loopback").secret(),
];
