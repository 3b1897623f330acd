//! Parses all settings together, and collects the warnings about them.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use tee_session_api_server::LogFormat;
use tracing::level_filters::LevelFilter;

use super::{Problems, Reader, Settings, Sources, parse_service_clients, without_effect};

impl Settings {
    /// Parses and validates all settings. If any setting is invalid, returns the problems of all
    /// invalid settings.
    pub(crate) fn parse(sources: &Sources) -> Result<Self, Problems> {
        let mut reader = Reader {
            sources,
            problems: Vec::new(),
        };
        let service_clients = reader.parsed("service_clients", parse_service_clients, Vec::new());
        let api = reader.api_settings(service_clients.clone());
        let redis = reader.redis_settings(api.near_cache.is_some());
        let mut warnings = sources.warnings();
        if api.trusted_proxies.trusts_everyone() {
            warnings.push(TRUSTS_EVERYONE.to_owned());
        }
        let upstream = api.upstream.as_ref();
        if upstream.is_some_and(|upstream| api.shutdown_timeout < upstream.client.response_timeout)
        {
            warnings.push(CUTS_CALLS_OFF.to_owned());
        }
        if redis.is_some() && api.shutdown_timeout < NEW_SESSION_CALLS * api.call_timeout {
            warnings.push(CUTS_ROTATIONS_OFF.to_owned());
        }
        let mut settings = Self {
            api,
            redis,
            redis_certificate_file: reader.file("redis_tls_certificate_file"),
            memory_max_sessions: reader.number("memory_max_sessions"),
            service_clients,
            service_clients_file: sources.secret_file("service_clients").map(Path::to_owned),
            log_level: reader.parsed("log_level", parse_log_level, LevelFilter::INFO),
            log_format: reader.parsed("log_format", parse_log_format, LogFormat::Json),
            traces: reader.trace_settings(),
            warnings,
        };
        if !reader.problems.is_empty() {
            return Err(Problems(reader.problems));
        }
        let without_effect = without_effect::warnings(&settings, sources);
        settings.warnings.extend(without_effect);
        Ok(settings)
    }
}

/// Warning about a `shutdown_timeout` that is shorter than `upstream_response_timeout_ms`, the
/// maximum time to wait for an answer of a site.
const CUTS_CALLS_OFF: &str = "shutdown_timeout is shorter than upstream_response_timeout_ms, so a \
     stop cuts off requests to sites that answer slowly: set it to a longer time";

/// Maximum time to answer a login or a rotation, as a multiple of the command timeout: see
/// `call_timeout` of the API settings.
const NEW_SESSION_CALLS: u32 = 5;

/// Warning about a `shutdown_timeout` that is shorter than a login or a rotation may take. A
/// rotation that is cut off may already have moved the session to a new token. The client does not
/// get this token, so the user is logged out.
const CUTS_ROTATIONS_OFF: &str = "shutdown_timeout is shorter than five times \
     redis_command_timeout_ms, so a stop can cut off a rotation that has already invalidated the \
     old token, which logs out the user: set it to a longer time";

/// Warning about a list of trusted proxies that contains every address.
const TRUSTS_EVERYONE: &str = "trusted_proxies contains every address, so any caller can claim any \
     client address in X-Forwarded-For: list only the networks of your proxies";

/// Parses a log level, in upper or lower case. Also accepts the names of Python's log levels,
/// because the service that Tee Session replaces was written in Python.
fn parse_log_level(text: &str) -> Result<LevelFilter, &'static str> {
    match text.to_ascii_uppercase().as_str() {
        "ERROR" | "CRITICAL" | "FATAL" => Ok(LevelFilter::ERROR),
        "WARN" | "WARNING" => Ok(LevelFilter::WARN),
        "INFO" => Ok(LevelFilter::INFO),
        "DEBUG" => Ok(LevelFilter::DEBUG),
        "TRACE" => Ok(LevelFilter::TRACE),
        _ => Err("the log level must be ERROR, WARN, INFO, DEBUG or TRACE"),
    }
}

/// Parses a log format. `auto` means text if standard output is a terminal, because a person then
/// reads the log. Otherwise, `auto` means JSON.
fn parse_log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "auto" if io::stdout().is_terminal() => Ok(LogFormat::Text),
        "auto" => Ok(LogFormat::Json),
        name => name
            .parse()
            .map_err(|_| "the log format must be auto, json or text"),
    }
}
