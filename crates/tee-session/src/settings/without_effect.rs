//! Settings that are valid, but have no effect because of another setting.

use tee_session_redis_adapter::{RedisSettings, StorageFormat};

use super::{
    Settings,
    reader::parse_switch,
    sources::{Source, Sources, default_of},
};

/// Settings that have an effect only under one condition.
struct Rule {
    settings: &'static [&'static str],
    has_effect: fn(&Settings) -> bool,
    /// Reason why the settings have no effect, if the condition is not met.
    reason: &'static str,
    /// Change that gives the settings an effect. `None` if they can only be removed.
    remedy: Option<&'static str>,
}

const RULES: &[Rule] = &[
    Rule {
        settings: &["storage_format", "accept_plain", "readiness_requires_store"],
        has_effect: |settings| settings.redis.is_some(),
        reason: "redis_url is not set",
        remedy: Some("set redis_url"),
    },
    Rule {
        settings: &["accept_plain"],
        has_effect: |settings| {
            let format = settings.redis.as_ref().map(RedisSettings::storage_format);
            format != Some(StorageFormat::Plain)
        },
        reason: "storage_format is plain, so plain sessions are always accepted",
        remedy: None,
    },
    Rule {
        settings: &["memory_max_sessions"],
        has_effect: |settings| settings.redis.is_none(),
        reason: "redis_url is set, so the embedded store is not used",
        remedy: None,
    },
    Rule {
        settings: &[
            "near_cache_max_stale_ms",
            "near_cache_max_entries",
            "near_cache_max_bytes",
        ],
        has_effect: |settings| settings.api.near_cache.is_some(),
        reason: "near_cache is false",
        remedy: Some("set near_cache to true"),
    },
    Rule {
        settings: &[
            "upstream_allow_http",
            "upstream_allowed_networks",
            "upstream_tls_ca_file",
            "upstream_user_agent",
            "upstream_login_paths",
            "upstream_expired_statuses",
            "upstream_login_markers",
            "upstream_response_timeout_ms",
            "upstream_max_request_bytes",
            "upstream_max_response_bytes",
            "upstream_max_in_flight",
            "upstream_session_concurrency",
        ],
        has_effect: |settings| settings.api.upstream.is_some(),
        reason: "upstream_gateway is false",
        remedy: Some("set upstream_gateway to true"),
    },
    Rule {
        settings: &["max_sessions_per_subject_action"],
        has_effect: |settings| settings.api.policy.subject_limit().is_some(),
        reason: "max_sessions_per_subject is 0, which means no limit",
        remedy: Some("set max_sessions_per_subject"),
    },
    Rule {
        settings: &["invalid_token_burst"],
        has_effect: |settings| settings.api.invalid_token_limit.is_some(),
        reason: "invalid_token_limit is 0, which means no limit",
        remedy: Some("set invalid_token_limit"),
    },
    Rule {
        settings: &["metrics_host"],
        has_effect: |settings| settings.api.metrics_address.is_some(),
        reason: "metrics_port is not set",
        remedy: Some("set metrics_port"),
    },
    Rule {
        settings: &[
            "traces_otlp_headers",
            "traces_sample_ratio",
            "traces_max_per_second",
        ],
        has_effect: |settings| settings.traces.is_some(),
        reason: "traces_otlp_endpoint is not set",
        remedy: Some("set traces_otlp_endpoint"),
    },
    // There is no rule for allow_anonymous_clients without redis_url. Scripts and tests set it for
    // every instance, so that the same settings work with and without Redis.
    Rule {
        settings: &["allow_anonymous_clients"],
        has_effect: |settings| settings.service_clients.is_empty(),
        reason: "service_clients is set, so every caller needs credentials",
        remedy: None,
    },
];

/// Returns a warning for each setting that a source sets, but that has no effect. A setting that
/// repeats its default causes no warning, so that `config/default.toml` can be used as it is.
pub(super) fn warnings(settings: &Settings, sources: &Sources) -> Vec<String> {
    let without_effect = RULES.iter().filter(|rule| !(rule.has_effect)(settings));
    let warnings = without_effect.flat_map(|rule| {
        let names = rule.settings.iter();
        let changed = names.filter(move |name| is_changed(name, sources));
        changed.map(move |name| {
            let remedy = rule.remedy.map(|remedy| format!("{remedy}, or "));
            format!(
                "{name} has no effect, because {}: {}remove {name} ({})",
                rule.reason,
                remedy.unwrap_or_default(),
                sources.source(name)
            )
        })
    });
    warnings.collect()
}

/// Returns `true` if a source sets `name` to another value than the default.
fn is_changed(name: &str, sources: &Sources) -> bool {
    let text = sources.text(name);
    let default = default_of(name);
    let is_default = text.eq_ignore_ascii_case(default)
        || parse_switch(text).is_ok_and(|value| parse_switch(default) == Ok(value))
        // Numbers have several spellings, such as 1, 1.0 and +1.
        || text.parse::<f64>().is_ok_and(|value| default.parse::<f64>() == Ok(value));
    !matches!(sources.source(name), Source::Default) && !is_default
}

#[cfg(test)]
mod tests;
