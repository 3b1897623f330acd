use rstest::rstest;

use super::*;
use crate::settings::tests::{CLIENT, read_config_file, read_settings};

const REDIS: (&str, &str) = ("redis_url", "redis://127.0.0.1");
const OPEN: (&str, &str) = ("allow_anonymous_clients", "true");
/// Settings that turn on the upstream gateway. `upstream_allow_http` is on, because without it the
/// gateway requires certificate authorities, which this machine may lack.
const GATEWAY: &[(&str, &str)] = &[
    ("upstream_gateway", "true"),
    ("allowed_base_hosts", "golf.example"),
    ("shutdown_timeout", "3600"),
    ("upstream_allow_http", "yes"),
];
const COLLECTOR: (&str, &str) = ("traces_otlp_endpoint", "http://127.0.0.1:4318");
const CACHE: [(&str, &str); 4] = [
    REDIS,
    OPEN,
    ("near_cache", "true"),
    ("session_touch_interval", "60"),
];

/// Checks that the setting `name` causes a warning together with the settings `others`, and no
/// warning together with the settings `with_effect`.
#[rstest]
#[case("storage_format", "plain", &[], "redis_url is not set: set redis_url, or", &[REDIS, OPEN])]
#[case("accept_plain", "true", &[], "redis_url is not set: set redis_url, or", &[REDIS, OPEN])]
#[case("accept_plain", "true", &[REDIS, OPEN, ("storage_format", "plain")], "storage_format is plain, so plain sessions are always accepted:", &[REDIS, OPEN])]
#[case("readiness_requires_store", "false", &[], "redis_url is not set: set redis_url, or", &[REDIS, OPEN])]
#[case("memory_max_sessions", "9", &[REDIS, OPEN], "redis_url is set, so the embedded store is not used:", &[])]
#[case("near_cache_max_stale_ms", "100", &[], "near_cache is false: set near_cache to true, or", &CACHE)]
#[case("near_cache_max_entries", "100", &[], "near_cache is false: set near_cache to true, or", &CACHE)]
#[case("near_cache_max_bytes", "1048576", &[], "near_cache is false: set near_cache to true, or", &CACHE)]
#[case("upstream_allow_http", "yes", &[], "upstream_gateway is false: set upstream_gateway to true, or", &GATEWAY[..3])]
#[case("upstream_allowed_networks", "10.0.0.1", &[], "upstream_gateway is false:", GATEWAY)]
#[case("upstream_user_agent", "a", &[], "upstream_gateway is false:", GATEWAY)]
#[case("upstream_login_paths", "/login", &[], "upstream_gateway is false:", GATEWAY)]
#[case("upstream_response_timeout_ms", "100", &[], "upstream_gateway is false:", GATEWAY)]
#[case("upstream_max_request_bytes", "1", &[], "upstream_gateway is false:", GATEWAY)]
#[case("upstream_max_response_bytes", "0", &[], "upstream_gateway is false:", GATEWAY)]
#[case("upstream_max_in_flight", "4", &[], "upstream_gateway is false:", GATEWAY)]
#[case("upstream_session_concurrency", "1", &[], "upstream_gateway is false:", GATEWAY)]
#[case("max_sessions_per_subject_action", "refuse", &[], "max_sessions_per_subject is 0, which means no limit: set max_sessions_per_subject, or", &[("max_sessions_per_subject", "1")])]
#[case("invalid_token_burst", "1", &[("invalid_token_limit", "0")], "invalid_token_limit is 0, which means no limit: set invalid_token_limit, or", &[])]
#[case("metrics_host", "127.0.0.2", &[], "metrics_port is not set: set metrics_port, or", &[("metrics_port", "9000")])]
#[case("traces_otlp_headers", "x-key=s3cret", &[], "traces_otlp_endpoint is not set: set traces_otlp_endpoint, or", &[COLLECTOR])]
#[case("traces_sample_ratio", "0.1", &[], "traces_otlp_endpoint is not set:", &[COLLECTOR])]
#[case("traces_max_per_second", "1", &[], "traces_otlp_endpoint is not set:", &[COLLECTOR])]
#[case("allow_anonymous_clients", "true", &[("service_clients", CLIENT)], "service_clients is set, so every caller needs credentials:", &[])]
fn setting_without_effect_causes_a_warning(
    #[case] name: &str,
    #[case] value: &str,
    #[case] others: &[(&str, &str)],
    #[case] reason: &str,
    #[case] with_effect: &[(&str, &str)],
) {
    let read = |others: &[(&str, &str)]| {
        let flags = [&[(name, value)][..], others].concat();
        read_settings(None, &flags).unwrap().warnings
    };
    let flag = name.replace('_', "-");
    let warnings = read(others);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let warning = &warnings[0];
    let start = format!("{name} has no effect, because {reason} ");
    assert!(warning.starts_with(&start), "{warning}");
    let end = format!("remove {name} (flag --{flag})");
    assert!(warning.ends_with(&end), "{warning}");
    assert!(!warning.contains("s3cret"), "{warning}");
    assert_eq!(read(with_effect), [""; 0]);
}

#[rstest]
#[case::switch_in_another_spelling("upstream_allow_http", "Off")]
#[case::choice_in_upper_case("storage_format", "SEALED")]
#[case::number("near_cache_max_entries", "100000")]
#[case::number_with_a_sign("near_cache_max_entries", "+100000")]
#[case::number_with_a_leading_zero("near_cache_max_entries", "0100000")]
#[case::fraction("traces_sample_ratio", "1.0")]
fn setting_that_repeats_its_default_causes_no_warning(#[case] name: &str, #[case] value: &str) {
    let settings = read_settings(None, &[(name, value)]).unwrap();
    assert_eq!(settings.warnings, [""; 0]);
}

/// Checks that each setting of an optional feature has a rule, except for the setting that turns on
/// the feature. The settings of a feature have a common prefix.
#[test]
fn each_setting_of_an_optional_feature_has_a_rule() {
    const FEATURES: [&str; 5] = ["memory_", "near_cache", "upstream_", "metrics_", "traces_"];
    const SWITCHES: [&str; 4] = [
        "near_cache",
        "upstream_gateway",
        "metrics_port",
        "traces_otlp_endpoint",
    ];
    for key in KEYS.iter().filter(|key| !SWITCHES.contains(&key.name)) {
        let mut features = FEATURES.into_iter();
        if let Some(feature) = features.find(|feature| key.name.starts_with(feature)) {
            let switch = key.only_with;
            let has_rule = switch.is_some_and(|switch| switch.starts_with(feature))
                || EXCLUSIONS.iter().any(|rule| rule.setting == key.name);
            assert!(has_rule, "{} has no rule", key.name);
        }
    }
}

#[test]
fn each_rule_names_settings_that_exist() {
    for switch in KEYS.iter().filter_map(|key| key.only_with) {
        let key = Key::find(switch).unwrap();
        let has_known_type = key.range.is_some() || key.value_name == "BOOL";
        assert!(key.default.is_empty() || has_known_type, "{switch}");
    }
    let rules = EXCLUSIONS.iter();
    let names = rules.flat_map(|rule| [rule.setting, rule.cause]);
    assert!(names.chain(STORE).all(|name| Key::find(name).is_some()));
}

#[rstest]
#[case::embedded_store(&[("traces_sample_ratio", "0.1"), ("allow_anonymous_clients", "true"), ("service_clients", CLIENT)], &["readiness_requires_store", "near_cache_max_bytes", "upstream_user_agent", "metrics_host", "traces_sample_ratio", "allow_anonymous_clients"])]
#[case::redis(&[REDIS, OPEN, ("storage_format", "plain"), ("accept_plain", "true"), ("memory_max_sessions", "9")], &["accept_plain", "memory_max_sessions", "near_cache_max_bytes", "upstream_user_agent", "metrics_host"])]
fn warnings_because_of_the_store_come_first(
    #[case] others: &[(&str, &str)],
    #[case] expected: &[&str],
) {
    let common = [
        ("metrics_host", "127.0.0.2"),
        ("readiness_requires_store", "false"),
        ("upstream_user_agent", "a"),
        ("near_cache_max_bytes", "1048576"),
    ];
    let flags = [&common[..], others].concat();
    let warnings = read_settings(None, &flags).unwrap().warnings;
    let names = warnings.iter().filter_map(|text| text.split(' ').next());
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

#[rstest]
#[case::default("default.toml", &[])]
#[case::production("production.toml", &[REDIS, ("service_clients", CLIENT)])]
fn settings_files_default_toml_and_production_toml_cause_no_warning(
    #[case] name: &str,
    #[case] secrets: &[(&str, &str)],
) {
    let settings = read_settings(Some(&read_config_file(name)), secrets).unwrap();
    assert_eq!(settings.warnings, [""; 0]);
}
