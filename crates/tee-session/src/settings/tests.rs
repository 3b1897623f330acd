mod empty_values;
mod invalid_settings;
mod secret_files;

use std::{fs, path::Path, process::Command};

use rstest::rstest;
use tempfile::{NamedTempFile, tempdir};

use super::*;

pub(super) fn read_settings(
    file: Option<&str>,
    flags: &[(&str, &str)],
) -> Result<Settings, String> {
    let file = file.map(|text| {
        let file = NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        file
    });
    let path = file.as_ref().map(|file| file.path().to_owned());
    let flags = flags
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let sources = Sources::read(path, flags).map_err(|problems| problems.to_string())?;
    Settings::parse(&sources).map_err(|problems| problems.to_string())
}

/// Reads the file `name` in the directory `config`. In the repository, this directory is a symbolic
/// link. In the published package, it is a real directory.
pub(super) fn read_config_file(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    fs::read_to_string(directory.join(name)).unwrap()
}

pub(super) const CLIENT: &str = r#"[{"id": "ci", "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "scopes": ["create"]}]"#;

const CLIENT_IN_TOML: &str = r#"[{id = "ci", secret_sha256 = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", scopes = ["create"]}]"#;

#[test]
fn default_settings_apply_if_no_setting_is_given() {
    let settings = read_settings(None, &[]).unwrap();
    assert_eq!(settings.api.address.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.api.policy, SessionPolicy::default());
    assert_eq!(settings.api.max_body_bytes, 65_536);
    assert!(settings.api.readiness_requires_store);
    assert_eq!(settings.api.shutdown_delay, Duration::ZERO);
    assert_eq!(settings.api.shutdown_timeout, Duration::from_secs(15));
    assert_eq!(settings.api.metrics_address, None);
    assert_eq!(settings.memory_max_sessions, 100_000);
    assert_eq!(settings.log_level, LevelFilter::INFO);
    assert!(!settings.api.access_log);
    assert!(settings.redis.is_none());
    assert!(settings.api.workers >= 1);
}

/// Checks that each default in the table of settings equals the default in the library crate that
/// uses the setting.
#[test]
fn defaults_of_the_library_crates_equal_the_defaults_of_the_service() {
    let debug = |settings: &dyn std::fmt::Debug| format!("{settings:#?}");
    let api = read_settings(None, &[]).unwrap().api;
    assert_eq!(debug(&api), debug(&ApiSettings::default()));
    let url = "redis://127.0.0.1:6379/0";
    let open = ("allow_anonymous_clients", "true");
    let redis = read_settings(None, &[("redis_url", url), open]).unwrap();
    let redis = redis.redis.unwrap();
    assert_eq!(debug(&redis), debug(&RedisSettings::new(url).unwrap()));
    let with_cache = [
        ("redis_url", url),
        open,
        ("near_cache", "true"),
        ("session_touch_interval", "60"),
    ];
    let near_cache = read_settings(None, &with_cache).unwrap().api.near_cache;
    assert_eq!(near_cache, Some(NearCacheSettings::default()));
}

#[test]
fn numeric_setting_is_accepted_at_the_limits_of_its_range_and_rejected_outside() {
    for key in KEYS {
        let Some(range) = &key.range else { continue };
        let unit = key
            .unit()
            .map_or_else(String::new, |unit| format!(" of {unit}"));
        let expected = format!(
            "{} (flag --{}): the value must be a whole number{unit} from {} to {}",
            key.name,
            key.name.replace('_', "-"),
            range.start(),
            range.end()
        );
        let is_rejected = |text: String| {
            let problems = read_settings(None, &[(key.name, &text)]).err();
            problems.is_some_and(|problems| problems.contains(&expected))
        };
        assert!(!is_rejected(range.start().to_string()), "{}", key.name);
        assert!(!is_rejected(range.end().to_string()), "{}", key.name);
        if let Some(below) = range.start().checked_sub(1) {
            assert!(is_rejected(below.to_string()), "{}", key.name);
        }
        assert!(is_rejected((range.end() + 1).to_string()), "{}", key.name);
    }
}

#[test]
fn command_line_flag_overrides_the_settings_file() {
    let settings = read_settings(
        Some("session_ttl = 60\nworkers = 3"),
        &[("session_ttl", "90")],
    )
    .unwrap();
    assert_eq!(settings.api.policy.idle_timeout(), Duration::from_secs(90));
    assert_eq!(settings.api.workers, 3);
}

#[rstest]
#[case::no_limit_by_default("", None)]
#[case::zero_means_no_limit("max_sessions_per_subject = 0", None)]
#[case::zero_with_an_action_means_no_limit(
    "max_sessions_per_subject = 0\nmax_sessions_per_subject_action = \"refuse\"",
    None
)]
#[case::evicts_oldest_by_default("max_sessions_per_subject = 1", Some((1, AtLimit::EvictOldest)))]
#[case::evicts_oldest(
    "max_sessions_per_subject = 2\nmax_sessions_per_subject_action = \"evict_oldest\"",
    Some((2, AtLimit::EvictOldest))
)]
#[case::refuses(
    "max_sessions_per_subject = 1000\nmax_sessions_per_subject_action = \"refuse\"",
    Some((1_000, AtLimit::Refuse))
)]
fn session_limit_per_subject_and_the_action_at_the_limit_are_parsed(
    #[case] file: &str,
    #[case] expected: Option<(usize, AtLimit)>,
) {
    let limit = read_settings(Some(file), &[])
        .unwrap()
        .api
        .policy
        .subject_limit();
    let limit = limit.map(|limit| (limit.max.get(), limit.when_reached));
    assert_eq!(limit, expected);
}

#[test]
fn setting_with_a_list_is_an_array_in_the_settings_file_and_comma_separated_in_a_flag() {
    let in_file = read_settings(
        Some("allowed_base_hosts = [\"a.example\", \".b.example\"]"),
        &[],
    )
    .unwrap();
    let in_flag = read_settings(None, &[("allowed_base_hosts", "a.example,.b.example")]).unwrap();
    assert_eq!(
        in_file.api.allowed_base_hosts,
        in_flag.api.allowed_base_hosts
    );
    let url = tee_session_domain::BaseUrl::new("https://c.example").unwrap();
    assert!(!in_file.api.allowed_base_hosts.allows(&url));
}

#[test]
fn service_clients_are_read_from_toml_tables_and_json() {
    let table = r#"
        [[service_clients]]
        id = "ci"
        secret_sha256 = ["1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"]
        scopes = ["create"]
    "#;
    assert!(
        !read_settings(Some(table), &[])
            .unwrap()
            .api
            .service_clients
            .is_empty()
    );
    let settings = read_settings(
        None,
        &[("service_clients", CLIENT), ("api_host", "0.0.0.0")],
    )
    .unwrap();
    assert!(!settings.api.service_clients.is_empty());
}

#[rstest]
#[case("WARNING", LevelFilter::WARN)]
#[case("warning", LevelFilter::WARN)]
#[case("CRITICAL", LevelFilter::ERROR)]
#[case("FATAL", LevelFilter::ERROR)]
#[case("debug", LevelFilter::DEBUG)]
fn log_level_accepts_the_level_names_of_python(#[case] text: &str, #[case] expected: LevelFilter) {
    let settings = read_settings(None, &[("log_level", text)]).unwrap();
    assert_eq!(settings.log_level, expected);
}

#[rstest]
#[case(&["true", "True", "TRUE", "yes", "on", "1"], true)]
#[case(&["false", "False", "FALSE", "no", "off", "0"], false)]
fn boolean_setting_accepts_the_spellings_of_python_and_yaml(
    #[case] texts: &[&str],
    #[case] expected: bool,
) {
    for text in texts {
        let settings = read_settings(None, &[("access_log", text)]).unwrap();
        assert_eq!(settings.api.access_log, expected, "{text}");
    }
}

#[test]
fn setting_with_fixed_values_accepts_upper_case() {
    let flags = [
        ("log_format", "JSON"),
        ("token_format", "Opaque"),
        ("storage_format", "PLAIN"),
        ("max_sessions_per_subject_action", "Refuse"),
    ];
    let settings = read_settings(None, &flags).unwrap();
    assert_eq!(settings.log_format, LogFormat::Json);
}

#[rstest]
#[case::all_ipv6_addresses("[::]", "[::]:8000")]
#[case::ipv6_loopback("[::1]", "[::1]:8000")]
#[case::without_brackets("::1", "[::1]:8000")]
fn ipv6_api_host_is_accepted_with_or_without_brackets(#[case] host: &str, #[case] address: &str) {
    let flags = [("api_host", host), ("service_clients", CLIENT)];
    let settings = read_settings(None, &flags).unwrap();
    assert_eq!(settings.api.address.to_string(), address);
}

#[test]
fn upstream_settings_for_login_paths_expired_statuses_and_login_markers_are_lists() {
    let file = "upstream_gateway = true\nallowed_base_hosts = [\"golf.example\"]\n\
                upstream_login_paths = [\"/login\", \"/a/b.php\"]\n\
                upstream_expired_statuses = [401, 419]\n\
                upstream_login_markers = [\"name=\\\"password\\\"\", \"Please log in\"]";
    let settings = read_settings(Some(file), &[]).unwrap();
    let login = settings.api.upstream.unwrap().client.login;
    assert_eq!(login.paths, ["/login", "/a/b.php"]);
    assert_eq!(login.statuses, [401, 419]);
    assert_eq!(login.markers, ["name=\"password\"", "Please log in"]);
}

#[rstest]
#[case::shorter("15", 1)]
#[case::as_long("30", 0)]
fn shutdown_timeout_shorter_than_the_response_timeout_of_sites_causes_a_warning(
    #[case] seconds: &str,
    #[case] warnings: usize,
) {
    let flags = [
        ("upstream_gateway", "true"),
        ("allowed_base_hosts", "golf.example"),
        ("shutdown_timeout", seconds),
    ];
    let settings = read_settings(None, &flags).unwrap();
    assert_eq!(settings.warnings.len(), warnings, "{:?}", settings.warnings);
}

#[rstest]
#[case::shorter(&[("redis_url", "redis://127.0.0.1")], "3001", true)]
#[case::as_long(&[("redis_url", "redis://127.0.0.1")], "3000", false)]
#[case::shorter_without_redis(&[], "3001", false)]
fn shutdown_timeout_shorter_than_five_redis_command_timeouts_causes_a_warning(
    #[case] store: &[(&str, &str)],
    #[case] command_timeout: &str,
    #[case] is_expected: bool,
) {
    let flags = [
        ("shutdown_timeout", "15"),
        ("redis_command_timeout_ms", command_timeout),
        ("service_clients", CLIENT),
    ];
    let settings = read_settings(None, &[&flags[..], store].concat()).unwrap();
    let start = "shutdown_timeout is shorter than five times redis_command_timeout_ms";
    let mut warnings = settings.warnings.iter();
    let has_warning = warnings.any(|warning| warning.starts_with(start));
    assert_eq!(has_warning, is_expected, "{:?}", settings.warnings);
}

#[test]
fn trusted_proxies_with_every_address_cause_a_warning() {
    let settings = read_settings(None, &[("trusted_proxies", "0.0.0.0/0")]).unwrap();
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].starts_with("trusted_proxies contains every address"));
}

#[test]
fn settings_file_default_toml_lists_every_setting_with_its_default() {
    let text = read_config_file("default.toml");
    // Settings without a default are commented out in the file.
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = "))
                .unwrap_or(line)
        })
        .collect();
    let table: toml::Table = uncommented.join("\n").parse().unwrap();
    let named: Vec<_> = table.keys().map(String::as_str).collect();
    for key in KEYS {
        assert!(named.contains(&key.name), "{} is missing", key.name);
    }
    assert_eq!(named.len(), KEYS.len());
    let table: toml::Table = text.parse().unwrap();
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        let value = table[key.name].to_string();
        assert_eq!(value.trim_matches('"'), key.default, "{}", key.name);
    }
    read_settings(Some(&text), &[]).unwrap();
}

#[test]
fn settings_file_production_toml_is_valid_only_with_a_service_client() {
    let production = read_config_file("production.toml");
    let problems = read_settings(Some(&production), &[]).unwrap_err();
    assert!(problems.contains("service_clients"), "{problems}");
    let settings = read_settings(Some(&production), &[("service_clients", CLIENT)]).unwrap();
    assert_eq!(
        settings.api.policy.absolute_lifetime(),
        Some(Duration::from_secs(86_400))
    );
    assert_eq!(settings.api.shutdown_delay, Duration::from_secs(5));
    assert!(!settings.api.readiness_requires_store);
}

#[test]
fn displayed_settings_include_their_sources_but_no_secret_values() {
    let flags = vec![
        (
            "redis_url".to_owned(),
            "redis://:s3cret@127.0.0.1".to_owned(),
        ),
        ("session_ttl".to_owned(), "60".to_owned()),
    ];
    let sources = Sources::read(None, flags).unwrap();
    let shown = |name: &str| {
        let setting = sources.shown().find(|shown| shown.name == name).unwrap();
        let value = setting.value.map(str::to_owned);
        (value, setting.is_set, setting.source.to_string())
    };
    let value = |text: &str| Some(text.to_owned());
    let flag = |name: &str| format!("flag --{name}");
    assert_eq!(
        shown("session_ttl"),
        (value("60"), true, flag("session-ttl"))
    );
    let default = "default".to_owned();
    assert_eq!(shown("api_port"), (value("8000"), true, default.clone()));
    assert_eq!(shown("metrics_port"), (None, false, default));
    assert_eq!(shown("redis_url"), (None, true, flag("redis-url")));
    assert!(!format!("{sources:?}").contains("s3cret"), "{sources:?}");
}
