//! Table of all settings. The keys of the settings file, the environment variables, the flags,
//! `config/default.toml` and `docs/settings.md` are derived from this table. A new setting must be
//! added to this table, to the settings struct of the crate that uses the setting, and to the code
//! that parses its text.

use std::ops::RangeInclusive;

use tee_session_domain::SessionPolicy;

/// A setting of the service. The name of a setting, such as `session_ttl`, is its key in the
/// settings file. The environment variable (`TSA_SESSION_TTL`) and the flag (`--session-ttl`) are
/// derived from the name.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Default value as text; empty if the setting has no default.
    pub(crate) default: &'static str,
    /// Example of a value in TOML, for a setting that has no default.
    #[cfg_attr(not(test), expect(dead_code, reason = "only `generated` reads it"))]
    pub(crate) example: &'static str,
    pub(crate) value_name: &'static str,
    /// Allowed values, for a setting that is a whole number.
    pub(crate) range: Option<RangeInclusive<u64>>,
    pub(crate) help: &'static str,
    /// Further sentences about the setting. They follow the help text in `config/default.toml`.
    #[cfg_attr(not(test), expect(dead_code, reason = "only `generated` reads it"))]
    pub(crate) details: &'static str,
    /// Name of the setting without which this setting has no effect.
    pub(crate) only_with: Option<&'static str>,
    /// `true` if the value of the setting is secret. The value of a secret is never displayed. A
    /// secret can also be read from a file. The setting `<name>_file` contains the path of this
    /// file.
    pub(crate) is_secret: bool,
    /// `true` if the value of the setting is a list.
    pub(crate) is_list: bool,
    /// Alias of the flag. For example, with the alias `port`, `--port` means the same as
    /// `--api-port`.
    pub(crate) flag_alias: Option<&'static str>,
    /// `true` if the short help (`-h`) lists the setting.
    pub(crate) is_in_short_help: bool,
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
            example: "",
            value_name,
            range: None,
            help,
            details: "",
            only_with: None,
            is_secret: false,
            is_list: false,
            flag_alias: None,
            is_in_short_help: false,
        }
    }

    /// Creates a setting that has no default. `example` is an example of a value in TOML.
    const fn unset(
        name: &'static str,
        example: &'static str,
        value_name: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            example,
            ..Self::new(name, "", value_name, help)
        }
    }

    const fn within(self, range: RangeInclusive<u64>) -> Self {
        Self {
            range: Some(range),
            ..self
        }
    }

    const fn details(self, details: &'static str) -> Self {
        Self { details, ..self }
    }

    /// Declares that the setting has an effect only together with the setting `switch`. The switch
    /// is a setting without a default, a boolean, or a number whose 0 means no limit. If the switch
    /// is not set, false or 0, this setting causes a warning.
    const fn only_with(self, switch: &'static str) -> Self {
        Self {
            only_with: Some(switch),
            ..self
        }
    }

    const fn alias(self, alias: &'static str) -> Self {
        Self {
            flag_alias: Some(alias),
            ..self
        }
    }

    /// Lists the setting in the short help.
    const fn in_short_help(self) -> Self {
        Self {
            is_in_short_help: true,
            ..self
        }
    }

    const fn list(self) -> Self {
        Self {
            is_list: true,
            ..self
        }
    }

    const fn secret(self) -> Self {
        Self {
            is_secret: true,
            ..self
        }
    }

    /// Returns the unit of a setting that is a number, such as `seconds`. Returns `None` if the
    /// number has no unit.
    pub(crate) fn unit(&self) -> Option<&'static str> {
        match self.value_name {
            "SECONDS" => Some("seconds"),
            "MS" | "MILLISECONDS" => Some("milliseconds"),
            "BYTES" => Some("bytes"),
            _ => None,
        }
    }

    /// Returns the setting `name`. Returns `None` if there is no such setting.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Returns the names under which the setting can be given: `name`, and for a secret also
    /// `<name>_file`.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + use<> {
        let file = self.is_secret.then(|| format!("{}_file", self.name));
        [Some(self.name.to_owned()), file].into_iter().flatten()
    }

    /// Returns the first clause of the help text.
    pub(crate) fn short_help(&self) -> &'static str {
        self.help.split([';', ':']).next().unwrap_or_default()
    }

    pub(crate) fn full_help(&self) -> String {
        let default = if self.default.is_empty() {
            "not set"
        } else {
            self.default
        };
        let file = if self.is_secret {
            format!("; --{}-file reads it from a file", as_flag(self.name))
        } else {
            String::new()
        };
        format!(
            "{}{file} [env: {}] [default: {default}]",
            self.help,
            environment_name(self.name)
        )
    }

    pub(crate) fn file_help(&self) -> String {
        format!("File to read --{} from", as_flag(self.name))
    }
}

fn as_flag(name: &str) -> String {
    name.replace('_', "-")
}

/// Prefix of all environment variables of this program.
pub(super) const ENVIRONMENT_PREFIX: &str = "TSA_";

pub(crate) fn environment_name(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.to_ascii_uppercase())
}

const MAX_TTL: u64 = SessionPolicy::MAX.as_secs();

/// All settings, in the order in which `--help`, `check-config` and `config/default.toml` list the
/// settings.
pub(crate) const KEYS: &[Key] = &[
    Key::new("api_host", "127.0.0.1", "HOST", "Address to listen on")
        .alias("host")
        .in_short_help()
        .details("If it is not a loopback address, service_clients is required."),
    Key::new("api_port", "8000", "PORT", "Port to listen on; 0 picks a free port")
        .within(0..=65_535)
        .alias("port")
        .in_short_help(),
    Key::unset("tls_certificate_file", r#""/etc/tee-session/tls/tls.crt""#, "FILE", "Certificate chain (PEM) for HTTPS, reloaded when it changes; not set: plain HTTP")
        .details("A renewed certificate is used from the next handshake on. Plain HTTP is for use behind \
            a gateway that terminates TLS."),
    Key::unset("tls_private_key_file", r#""/etc/tee-session/tls/tls.key""#, "FILE", "Private key (PEM) of tls_certificate_file")
        .details("It is reloaded together with the certificate."),
    Key::new("workers", "0", "N", "HTTP worker threads, each with its own Redis connection; 0: one per core")
        .within(0..=1_024)
        .details("In a cluster, each worker has a connection to each primary. With Sentinel, each worker \
            also has a connection to each sentinel."),
    Key::unset("redis_url", r#""redis://127.0.0.1:6379/0""#, "URL", "URL of the Redis that stores sessions; not set: sessions are kept in the memory of this process and are lost when the process ends")
        .secret()
        .in_short_help()
        .details("Schemes: redis:// for one server, rediss:// for one server over TLS, redis-sentinel://, \
            redis-cluster://, and redis+unix:// for a Unix socket. A part of the URL that has no effect is \
            an error, and so is a user without a password. Percent-encode #, /, ? and % in a password (%23, \
            %2F, %3F, %25). User and password are read from redis_url_file again for each new connection, \
            so that a rotated password needs no restart."),
    Key::unset("redis_tls_ca_file", r#""/etc/tee-session/redis-tls/ca.crt""#, "FILE", "With a rediss URL: certificate authorities (PEM) to trust; not set: those of the system")
        .details("The file is read again for each connection."),
    Key::unset("redis_tls_certificate_file", r#""/etc/tee-session/redis-tls/tls.crt""#, "FILE", "With a rediss URL: client certificate (PEM) to present")
        .details("The file is read again for each connection."),
    Key::unset("redis_tls_private_key_file", r#""/etc/tee-session/redis-tls/tls.key""#, "FILE", "Private key (PEM) of redis_tls_certificate_file")
        .details("The file is read again for each connection."),
    Key::new("redis_command_timeout_ms", "500", "MS", "Timeout of one Redis command; most responses are sent within twice this time, those of logins and rotations within about five times, and those of requests with the scope admin within 5 s").within(10..=60_000),
    Key::new("storage_format", "sealed", "FORMAT", "Format of records in Redis: sealed (encrypted with a key that is derived from the token) or plain (readable JSON)")
        .only_with("redis_url")
        .details("Plain records are stored under session:<token>, in the format of the project's first \
            service (in Python). An instance with plain reads both formats, so that a roll-out of sealed can \
            be rolled back."),
    Key::new("accept_plain", "false", "BOOL", "With storage_format sealed: also read plain records, and seal each one when it is accessed")
        .only_with("redis_url")
        .details("Use this during a migration. It is not possible with a cluster."),
    Key::new("token_format", "uuid", "FORMAT", "Format of new tokens: uuid (122 random bits) or opaque (256 random bits)")
        .details("Tokens of both formats are always accepted."),
    Key::unset("allowed_base_hosts", r#"["golf.example"]"#, "HOSTS", "Hosts that base_url may name, separated by commas; .example.com allows the subdomains of example.com; not set: all").list(),
    Key::new("hide_cookies", "false", "BOOL", "Answer with the names of cookies in place of their values, and keep sessions at their site")
        .details("Clients then use a login only through the gateway. It holds only if every instance has it: \
            read docs/upstream.md first."),
    Key::new("upstream_gateway", "false", "BOOL", "Serve /v1/upstream, which sends requests to the site of the session with its cookies; needs allowed_base_hosts")
        .details("Read docs/upstream.md first: with it, the service makes connections to sites, and a \
            client that changes base_url (PATCH) lets it send the cookies of the session to another host \
            in allowed_base_hosts. Only hide_cookies prevents this. Off, the path is answered with 404."),
    Key::new("upstream_allow_http", "false", "BOOL", "Let the gateway also call sites over http, on port 80")
        .only_with("upstream_gateway")
        .details("Cookies and pages then travel unencrypted."),
    Key::unset("upstream_allowed_networks", r#"["10.20.30.0/29"]"#, "NETWORKS", "Addresses or networks that the gateway may connect to, at any port, although they are not public, separated by commas; not set: none")
        .only_with("upstream_gateway")
        .list()
        .details("Without it, only public addresses are connected to, on port 443. Use it for a site in your \
            own network."),
    Key::unset("upstream_tls_ca_file", r#""/etc/tee-session/upstream-tls/ca.crt""#, "FILE", "Certificate authorities (PEM) that the gateway trusts; not set: those of the system")
        .only_with("upstream_gateway")
        .details("The file is read at start. Certificates are always checked. If the system has no \
            authorities, a gateway that may not use http does not start."),
    Key::unset("upstream_user_agent", r#""Mozilla/5.0 (X11; Linux x86_64)""#, "TEXT", "User-Agent that the gateway sends in place of the one of the client; not set: the one of the client")
        .only_with("upstream_gateway")
        .details("Some sites end a login whose User-Agent changes."),
    Key::unset("upstream_login_paths", r#"["/login"]"#, "PATHS", "Paths of the login pages of the sites, separated by commas: a redirect to one of them shows that the login is over; not set: none")
        .only_with("upstream_gateway")
        .list()
        .details("The client then gets 401 upstream_session_expired. A path is compared exactly, without \
            query, at whatever host. Requests for a login path are passed on, so list also the path to which \
            the form is sent."),
    Key::unset("upstream_expired_statuses", "[419]", "STATUSES", "Statuses of the sites that show that the login is over, separated by commas; not set: none")
        .only_with("upstream_gateway")
        .list()
        .details("Statuses from 500 on are not possible, because they say nothing about the login. Requires \
            upstream_login_paths."),
    Key::unset("upstream_login_markers", r#"["id=\"login-form\""]"#, "TEXTS", "Texts that only the login pages of the sites contain, separated by commas; not set: none")
        .only_with("upstream_gateway")
        .list()
        .details("They are searched in the first 64 KiB of each page of HTML or XML with the status 200, so \
            that a page is passed on when its start has arrived. Sites are then asked for gzip or no \
            compression. A text cannot contain a comma. Requires upstream_login_paths."),
    Key::new("upstream_response_timeout_ms", "30000", "MS", "Maximum time from sending a request to a site to the head of its answer")
        .only_with("upstream_gateway")
        .within(100..=600_000)
        .details("After that, the answer is 504 and the outcome is unknown. Gateways in front of this service \
            need a longer timeout, and shutdown_timeout should be longer too."),
    Key::new("upstream_max_request_bytes", "1048576", "BYTES", "Maximum size of the body of a request to a site")
        .only_with("upstream_gateway")
        .within(0..=1 << 30),
    Key::new("upstream_max_response_bytes", "16777216", "BYTES", "Maximum size of the answer of a site; 0: no limit")
        .only_with("upstream_gateway")
        .within(0..=1 << 50)
        .details("An answer is passed on as it arrives, so its size needs no memory. If it exceeds the limit, \
            the response is 502 upstream_failed if the site announced the length; otherwise the connection to \
            the client ends."),
    Key::new("upstream_max_in_flight", "256", "N", "Maximum number of requests to sites in flight; a quarter of them may be under way to one site")
        .only_with("upstream_gateway")
        .within(4..=100_000)
        .details("They do not count towards max_in_flight. Each one may need memory for its body."),
    Key::new("upstream_session_concurrency", "6", "N", "Maximum number of requests of one session to its site at the same time; further ones wait in order of arrival")
        .only_with("upstream_gateway")
        .within(1..=1_000)
        .details("Set 1 for sites that change the cookie with each answer, and for JSF. The order holds \
            within one instance."),
    Key::unset("cors_allowed_origins", r#"["https://app.golf.example"]"#, "ORIGINS", "Origins whose pages may call the API from a browser (CORS), separated by commas; not set: none")
        .list()
        .details("Spell them as browsers send them."),
    Key::new("memory_max_sessions", "100000", "N", "Maximum number of live sessions in the embedded store")
        .within(1..=100_000_000)
        .details("If the store is full, a request that creates a session is answered with 503."),
    Key::new("session_ttl", "1800", "SECONDS", "Idle timeout of a session; each access restarts it").within(1..=MAX_TTL),
    Key::new("session_touch_interval", "0", "SECONDS", "Minimum time between two TTL renewals of a session; 0 renews at every access")
        .within(0..=MAX_TTL)
        .details("It must be less than session_ttl. A larger value saves writes to Redis. A session still \
            lives for at least session_ttl after its last access. It may live longer, by up to this interval \
            plus one second. An access that does not renew the TTL is read from the server that this \
            instance considers the primary. After a manual failover that Redis does not announce, this may \
            be the old primary for up to one second. All programs that renew sessions in this Redis must \
            use the same interval. An instance with 0, or the first service, shortens the lifetime of a \
            session by up to the interval."),
    Key::new("near_cache", "false", "BOOL", "Cache sessions in this process, and drop them when Redis reports a change; needs Redis and session_touch_interval")
        .details("Requests for cached sessions are answered without a call to Redis. Redis notifies this \
            process of every change of a session, whichever program made it (invalidation feed). A logout \
            takes effect at once on the instance that receives it, and after a few milliseconds on the \
            others. If the feed fails, the logout takes effect after near_cache_max_stale_ms at the latest. \
            The near cache requires redis_url (not a cluster), and a session_touch_interval above 0, for \
            example 60, because each TTL renewal invalidates the cached session on all instances."),
    Key::new("near_cache_max_stale_ms", "1000", "MILLISECONDS", "Maximum time that cached sessions are served after the last sign of life on the invalidation feed")
        .only_with("near_cache")
        .within(100..=60_000)
        .details("A logout on another instance takes effect on this instance within this time."),
    Key::new("near_cache_max_entries", "100000", "N", "Maximum number of sessions in the near cache")
        .only_with("near_cache")
        .within(100..=10_000_000),
    Key::new("near_cache_max_bytes", "67108864", "BYTES", "Maximum memory of the near cache")
        .only_with("near_cache")
        .within(1_048_576..=1 << 36)
        .details("A cached session takes 500 to 700 bytes."),
    Key::new("session_max_lifetime", "0", "SECONDS", "Absolute lifetime of a session; 0: no limit")
        .within(0..=MAX_TTL)
        .details("The limit also applies to a session that is in use."),
    Key::new("max_sessions_per_subject", "0", "N", "Maximum number of live sessions of one subject; 0: no limit")
        .within(0..=1_000)
        .details("With simultaneous logins, a few more sessions may remain. Sessions without a subject are \
            not counted."),
    Key::new("max_sessions_per_subject_action", "evict_oldest", "ACTION", "Action when a subject with max_sessions_per_subject sessions creates another: evict_oldest ends the oldest session, refuse answers 409").only_with("max_sessions_per_subject"),
    Key::new("max_body_bytes", "65536", "BYTES", "Maximum size of a request body").within(1_024..=16_777_216),
    Key::new("max_in_flight", "4096", "N", "Maximum number of requests in flight; requests whose body is still arriving are counted separately, with the same maximum; further requests are answered with 503 at once")
        .within(1..=1_000_000)
        .details("The code of these responses is overloaded. The limit keeps the other requests fast. Health \
            probes are always answered."),
    Key::new("max_connections", "10000", "N", "Maximum number of open client connections; at the limit, the longest-idle connections make room for new ones")
        .within(1..=1_000_000)
        .details("A connection whose request is being handled is never closed for another one. If no \
            connection is idle, new connections get answers to health probes only. If the process may not \
            open as many files, a lower limit applies, and a warning is logged at start."),
    Key::unset("max_connections_per_address", "5000", "N", "Maximum number of open connections from one address; 0: no limit; not set: half of max_connections")
        .within(0..=1_000_000)
        .details("At the limit, the longest-idle connections of the address make room for its new ones. The \
            addresses of one IPv6 network (/64) count as one address. trusted_proxies have no such limit."),
    Key::new("invalid_token_limit", "100", "N", "Invalid tokens per second from one address that are answered with 401; further ones with 429; 0: no limit")
        .within(0..=1_000_000)
        .details("The addresses of one IPv6 network (/64) count as one address. Valid tokens are always \
            accepted."),
    Key::new("invalid_token_burst", "300", "N", "Number of invalid tokens from one address that may arrive at once before invalid_token_limit applies")
        .only_with("invalid_token_limit")
        .within(1..=1_000_000),
    Key::unset("trusted_proxies", r#"["10.20.30.0/29", "fd00:20:30::/64"]"#, "NETWORKS", "Addresses or networks of proxies whose X-Forwarded-For is trusted, separated by commas; they must contain no other machine; not set: none")
        .list()
        .details("The invalid_token_limit then applies to the clients of the proxies, and not to the proxies \
            themselves. If a trusted proxy sends no client address, the request is not limited. Another \
            machine in these networks could claim any client address."),
    Key::new("readiness_requires_store", "true", "BOOL", "true: /health/ready is 503 whenever the store is unavailable; false: only until it was first available").only_with("redis_url"),
    Key::new("shutdown_delay", "0", "SECONDS", "Time to keep serving after SIGTERM, so that load balancers notice that /health/ready is 503").within(0..=3_600),
    Key::new("shutdown_timeout", "15", "SECONDS", "Time that requests in flight have to finish after shutdown_delay").within(1..=3_600),
    Key::new("metrics_host", "127.0.0.1", "HOST", "Address to serve /metrics on")
        .only_with("metrics_port")
        .details("On a loopback address, requests whose Host header names another host are answered with 403."),
    Key::unset("metrics_port", "9000", "PORT", "Port to serve /metrics on; not set: no metrics").within(0..=65_535),
    Key::new("log_level", "INFO", "LEVEL", "Minimum severity of logged events: ERROR, WARN, INFO, DEBUG or TRACE")
        .in_short_help()
        .details("WARNING is accepted for WARN, and CRITICAL for ERROR."),
    Key::new("log_format", "auto", "FORMAT", "Log format: json, text, or auto (text on a terminal, otherwise json)"),
    Key::new("access_log", "false", "BOOL", "Log one line for each request")
        .details("The line has the method, the route, the status, the duration, the address of the client, \
            the request id and the service client, but neither the path nor the query. It is logged at every \
            log_level."),
    Key::unset("traces_otlp_endpoint", r#""http://127.0.0.1:4318""#, "URL", "OpenTelemetry collector (OTLP over HTTP) that receives traces, such as http://127.0.0.1:4318; not set: no traces")
        .details("Spans are sent as protobuf."),
    Key::unset("traces_otlp_headers", r#""x-api-key=...""#, "NAME=VALUE", "Headers to send to the collector, separated by commas, such as its API key")
        .only_with("traces_otlp_endpoint")
        .list()
        .secret()
        .details("The headers are name=value pairs, which are sent with each batch of spans. \
            traces_otlp_headers_file is read at start, so a changed key needs a restart."),
    Key::new("traces_sample_ratio", "1", "RATIO", "Fraction of the requests (0 to 1) that are recorded if the caller makes no sampling decision")
        .only_with("traces_otlp_endpoint")
        .details("If the caller records its own trace (W3C Trace Context), the request is recorded. Health \
            probes are never recorded."),
    Key::new("traces_max_per_second", "100", "N", "Maximum number of requests per second that are recorded, including those that callers ask to record")
        .only_with("traces_otlp_endpoint")
        .within(1..=1_000_000),
    Key::unset("service_clients", r#"[{ id = "booking-api", secret_sha256 = "<64 hexadecimal digits>", scopes = ["create"] }]"#, "JSON", "Programs that may create, introspect, revoke, list and end sessions: [{\"id\", \"secret_sha256\", \"scopes\": [\"create\"]}]; see tee-session client new; required with redis_url unless allow_anonymous_clients is true, and always if api_host is not a loopback address")
        .list()
        .secret()
        .in_short_help()
        .details("The scopes are create, introspect, revoke, and admin, which lists and ends the sessions of \
            a subject. The programs authenticate with HTTP Basic. secret_sha256 is the output of \
            `printf %s \"$SECRET\" | sha256sum`, or a list of such hashes, so that a secret can be replaced \
            without an interruption. In the environment and in service_clients_file, the value is the same \
            list as JSON. service_clients_file is read again when it changes."),
    Key::new("allow_anonymous_clients", "false", "BOOL", "Allow every caller to create, introspect, revoke, list and end sessions if redis_url is set, api_host is a loopback address and there are no service_clients")
        .details("Requests with a sign of a proxy are still rejected, but a proxy need not leave a sign: never \
            put a proxy in front of this service. An address other than loopback always requires service_clients."),
];
