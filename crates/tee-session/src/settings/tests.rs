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

#[test]
fn redis_url_is_read_from_the_file_that_the_setting_redis_url_file_names() {
    let secret = NamedTempFile::new().unwrap();
    fs::write(&secret, "redis://:s3cret@127.0.0.1:6379/0\n").unwrap();
    let path = secret.path().to_str().unwrap();
    assert!(
        read_settings(
            None,
            &[
                ("redis_url_file", path),
                ("allow_anonymous_clients", "true")
            ]
        )
        .unwrap()
        .redis
        .is_some()
    );
    let sources = Sources::read(None, vec![("redis_url_file".to_owned(), path.to_owned())]);
    assert_eq!(
        sources.unwrap().secret_file("redis_url"),
        Some(secret.path())
    );
    let both = read_settings(
        None,
        &[("redis_url_file", path), ("redis_url", "redis://x")],
    )
    .unwrap_err();
    assert!(
        both.contains("give redis_url or redis_url_file, not both"),
        "{both}"
    );
    fs::write(&secret, "\n").unwrap();
    let empty = read_settings(None, &[("redis_url_file", path)]).unwrap_err();
    assert!(empty.contains("is empty"), "{empty}");
    let gone = read_settings(None, &[("redis_url_file", "/nowhere")]).unwrap_err();
    assert!(
        gone.contains("redis_url_file (flag --redis-url-file): /nowhere cannot be read"),
        "{gone}"
    );
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

fn write_more_than_1_mib(path: &Path) {
    fs::write(path, "x".repeat(1_048_577)).unwrap();
}

fn write_bytes(path: &Path) {
    fs::write(path, b"\xff").unwrap();
}

/// Checks that a file that could not be read again while the service runs is already rejected at
/// start.
#[rstest]
#[case::named_pipe(make_pipe, "it is not a regular file")]
#[case::too_large(write_more_than_1_mib, "it is larger than 1 MiB")]
#[case::not_utf_8(write_bytes, "is not UTF-8 text")]
fn file_of_a_secret_that_cannot_be_read_again_is_rejected(
    #[case] make: fn(&Path),
    #[case] expected: &str,
    #[values("redis_url_file", "service_clients_file", "traces_otlp_headers_file")] name: &str,
) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("secret");
    make(&path);
    let problems = read_settings(None, &[(name, path.to_str().unwrap())]).unwrap_err();
    assert!(problems.contains(expected), "{problems}");
}

#[test]
fn error_in_service_clients_of_the_settings_file_names_the_client_and_no_position_in_json() {
    let problems = read_settings(Some("[[service_clients]]\nid = \"a\""), &[]).unwrap_err();
    let expected = "scopes (a list): client 1: secret_sha256 is missing\n";
    assert!(problems.ends_with(expected), "{problems}");
}

#[rstest]
#[case::unknown_key("sesion_ttl = 1", "sesion_ttl (file ")]
#[case::ttl_zero(
    "session_ttl = 0",
    "the value must be a whole number of seconds from 1 to 31536000"
)]
#[case::ttl_too_large(
    "session_ttl = 31536001",
    "the value must be a whole number of seconds from 1 to 31536000"
)]
#[case::ttl_negative(
    "session_ttl = -1",
    "the value must be a whole number of seconds from 1 to 31536000"
)]
#[case::ttl_fraction(
    "session_ttl = 1.5",
    "the value must be a whole number of seconds from 1 to 31536000"
)]
#[case::ttl_not_a_number(
    "session_ttl = \"soon\"",
    "the value must be a whole number of seconds from 1 to 31536000"
)]
#[case::port_too_large("api_port = 65536", "must be a whole number from 0 to 65535")]
#[case::unresolvable_host(
    "api_host = \"no such host\"",
    "the host must be an IP address, or a name that resolves"
)]
#[case::ttl_with_a_unit(
    "session_ttl = \"30m\"",
    "the value must be a whole number of seconds from 1"
)]
#[case::timeout_with_a_unit(
    "redis_command_timeout_ms = \"1s\"",
    "the value must be a whole number of milliseconds from 10"
)]
#[case::service_link_of_kubernetes(
    "api_port = \"tcp://10.0.0.1:8000\"",
    "if Kubernetes has set this variable for a Service, set enableServiceLinks to false in the pod"
)]
#[case::not_a_boolean(
    "readiness_requires_store = \"maybe\"",
    "the value must be true or false"
)]
#[case::unknown_log_level(
    "log_level = \"LOUD\"",
    "the log level must be ERROR, WARN, INFO, DEBUG or TRACE"
)]
#[case::unknown_log_format("log_format = \"xml\"", "the log format must be auto, json or text")]
#[case::metrics_and_api_on_one_port(
    "metrics_port = 8000",
    "metrics_port and api_port name the same port on the same address"
)]
#[case::gateway_to_every_host(
    "upstream_gateway = true",
    "upstream_gateway requires allowed_base_hosts"
)]
#[case::upstream_network(
    "upstream_allowed_networks = [\"golf.example\"]",
    "the networks must be written as 10.20.30.0/29"
)]
#[case::upstream_user_agent("upstream_user_agent = \"a\\nb\"", "the value must be visible ASCII")]
#[case::upstream_login_path(
    "upstream_login_paths = [\"/login?x\"]",
    "the paths must begin with a slash, be percent-encoded as the site sends them, and have no query, no \
     semicolon and no *"
)]
#[case::upstream_login_path_that_is_not_percent_encoded(
    "upstream_login_paths = [\"/übersicht\"]",
    "the paths must begin with a slash, be percent-encoded"
)]
#[case::upstream_login_path_with_a_wildcard(
    "upstream_login_paths = [\"/login*\"]",
    "the paths must begin with a slash, be percent-encoded"
)]
#[case::upstream_login_url(
    "upstream_login_paths = [\"https://golf.example/login\"]",
    "the paths must begin with a slash"
)]
#[case::upstream_server_error(
    "upstream_expired_statuses = [401, 503]",
    "the statuses must be numbers from 200 to 499"
)]
#[case::markers_without_login_paths(
    "upstream_gateway = true\nallowed_base_hosts = [\"golf.example\"]\n\
     upstream_login_markers = [\"Please log in\"]",
    "upstream_expired_statuses and upstream_login_markers require the paths of the login pages"
)]
#[case::statuses_without_login_paths(
    "upstream_gateway = true\nallowed_base_hosts = [\"golf.example\"]\n\
     upstream_expired_statuses = [419]",
    "upstream_expired_statuses and upstream_login_markers require the paths of the login pages"
)]
#[case::comma_in_an_entry_of_a_list(
    "upstream_login_markers = [\"Welcome, log in\"]",
    "an entry of the list contains a comma"
)]
#[case::upstream_authorities(
    "upstream_gateway = true\nallowed_base_hosts = [\"golf.example\"]\n\
     upstream_tls_ca_file = \"/nowhere/ca.crt\"",
    "/nowhere/ca.crt cannot be read as PEM with certificates"
)]
#[case::misspelled_key(
    "session_tll = 1",
    "there is no such setting; did you mean session_ttl?"
)]
#[case::wildcard_in_an_origin(
    "cors_allowed_origins = [\"https://*.golf.example\"]",
    "the origins must be written as browsers send them"
)]
#[case::proxy_from_which_no_connection_comes(
    "trusted_proxies = [\"0.0.0.0\"]",
    "the proxies must be IP addresses or networks"
)]
#[case::session_limit_too_large(
    "max_sessions_per_subject = 1001",
    "must be a whole number from 0 to 1000"
)]
#[case::unknown_session_limit_action(
    "max_sessions_per_subject_action = \"evict\"",
    "the action must be evict_oldest or refuse"
)]
#[case::unknown_storage_format(
    "storage_format = \"open\"",
    "the storage format must be sealed or plain"
)]
#[case::unknown_token_format("token_format = \"jwt\"", "the token format must be uuid or opaque")]
#[case::url_as_base_host(
    "allowed_base_hosts = [\"https://golf.example\"]",
    "the hosts must be names such as golf.example"
)]
#[case::accept_plain_in_cluster(
    "accept_plain = true\nallow_anonymous_clients = true\n\
     redis_url = \"redis-cluster://:s3cret@localhost:7000\"",
    "accept_plain (file "
)]
#[case::unsupported_redis_scheme(
    "allow_anonymous_clients = true\nredis_url = \"http://:s3cret@x\"",
    "the Redis URL must begin with one of"
)]
#[case::clients_are_not_a_list(
    "service_clients = \"s3cret\"",
    "the value must be a list of clients"
)]
#[case::unknown_client_scope(
    "service_clients = [{id = \"a\", secret_sha256 = \"s3cret\", scopes = [\"fly\"]}]",
    "client 1: scopes must be one or more of: create, introspect, revoke, admin"
)]
#[case::no_service_clients_on_a_non_loopback_address(
    "api_host = \"0.0.0.0\"",
    "service_clients must name at least one client"
)]
#[case::allowed_anonymous_clients_on_a_non_loopback_address(
    "allow_anonymous_clients = true\napi_host = \"0.0.0.0\"\nredis_url = \"redis://:s3cret@x\"",
    "service_clients must name at least one client when api_host"
)]
#[case::no_service_clients_with_redis(
    "redis_url = \"redis://:s3cret@x\"",
    "service_clients must name at least one client when redis_url is set: add a client with \
     `tee-session client new --id ID --scope create`, or, if only trusted programs can reach this loopback address, set \
     allow_anonymous_clients = true"
)]
#[case::empty_secret_of_a_service_client(
    "service_clients = [{id = \"a\", secret_sha256 = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\", scopes = [\"create\"]}]",
    "client 1: secret_sha256 is the SHA-256 of the empty text"
)]
#[case::invalid_toml("= s3cret", "the file is not valid TOML")]
#[case::text_without_quotes_in_toml(
    "session_ttl = 60\nredis_url = redis://:s3cret@x",
    "(line 2). Write each setting as name = value, and each text in quotes, such as \
     log_level = \"INFO\""
)]
#[case::fault_at_the_start_of_a_line_in_toml(
    "session_ttl = 60\n\n= s3cret",
    "(line 3). Write each setting as name = value"
)]
fn invalid_setting_is_rejected_with_a_one_line_error_that_omits_the_value(
    #[case] file: &str,
    #[case] expected: &str,
) {
    let problems = read_settings(Some(file), &[]).unwrap_err();
    assert!(problems.contains(expected), "{problems}");
    assert!(!problems.contains("s3cret"), "{problems}");
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[rstest]
#[case("WARNING", LevelFilter::WARN)]
#[case("warning", LevelFilter::WARN)]
#[case("CRITICAL", LevelFilter::ERROR)]
#[case("FATAL", LevelFilter::ERROR)]
#[case("debug", LevelFilter::DEBUG)]
fn log_level_is_accepted_as_python_spells_it(#[case] text: &str, #[case] expected: LevelFilter) {
    let settings = read_settings(None, &[("log_level", text)]).unwrap();
    assert_eq!(settings.log_level, expected);
}

#[rstest]
#[case(&["true", "True", "TRUE", "yes", "on", "1"], true)]
#[case(&["false", "False", "FALSE", "no", "off", "0"], false)]
fn switch_setting_is_accepted_in_the_spellings_of_python_and_yaml(
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
fn ipv6_address_is_accepted_in_brackets(#[case] host: &str, #[case] address: &str) {
    let flags = [("api_host", host), ("service_clients", CLIENT)];
    let settings = read_settings(None, &flags).unwrap();
    assert_eq!(settings.api.address.to_string(), address);
}

#[test]
fn login_signals_are_parsed_as_lists() {
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
#[case::redis_url("redis_url", "'redis://127.0.0.1'", "")]
#[case::service_clients("service_clients", CLIENT_IN_TOML, "[]")]
#[case::base_hosts("allowed_base_hosts", "['golf.example']", " , ")]
#[case::proxies("trusted_proxies", "['10.0.0.1']", " ")]
#[case::certificate("tls_certificate_file", "'/etc/tls.crt'", "")]
#[case::metrics_port("metrics_port", "9000", "")]
fn empty_value_that_would_discard_a_value_of_the_settings_file_is_rejected(
    #[case] key: &str,
    #[case] in_file: &str,
    #[case] empty: &str,
) {
    let file = format!("allow_anonymous_clients = true\n{key} = {in_file}");
    let problems = read_settings(Some(&file), &[(key, empty)]).unwrap_err();
    assert!(
        problems.contains(": the value is empty, but file /"),
        "{problems}"
    );
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[test]
fn list_of_commas_that_would_discard_a_list_of_the_settings_file_is_rejected() {
    let lists = KEYS
        .iter()
        .filter(|key| key.help.contains("separated by commas"));
    for key in lists {
        let file = format!("{} = {}", key.name, key.example);
        let problems = read_settings(Some(&file), &[(key.name, " ,")]).unwrap_err();
        assert!(
            problems.contains(": the value is empty, but file /"),
            "{problems}"
        );
    }
}

#[rstest]
#[case::redis_url("redis_url", "")]
#[case::service_clients("service_clients", "")]
#[case::empty_list_of_service_clients("service_clients", "[]")]
#[case::base_hosts("allowed_base_hosts", " ")]
#[case::login_paths("upstream_login_paths", ",")]
fn empty_setting_that_overrides_no_other_value_causes_only_a_warning(
    #[case] key: &str,
    #[case] empty: &str,
) {
    let settings = read_settings(None, &[(key, empty)]).unwrap();
    let flag = key.replace('_', "-");
    let warning = format!("{key} has no effect: its value is empty (flag --{flag})");
    assert_eq!(settings.warnings, [warning]);
}

#[rstest]
#[case::space(" ")]
#[case::empty_list("[]")]
#[case::comma(",")]
fn invalid_redis_url_does_not_select_the_embedded_store(#[case] value: &str) {
    let flags = [("redis_url", value), ("allow_anonymous_clients", "true")];
    let problems = read_settings(None, &flags).unwrap_err();
    assert!(
        problems.contains("redis_url (flag --redis-url)"),
        "{problems}"
    );
}

#[rstest]
#[case::url("redis://user:s3cret@localhost")]
#[case::header("authorization=s3cret")]
fn secret_given_instead_of_its_file_path_is_not_shown_in_the_error(#[case] value: &str) {
    let problems = read_settings(None, &[("redis_url_file", value)]).unwrap_err();
    assert!(
        problems.contains("the value must be the path of a file"),
        "{problems}"
    );
    assert!(!problems.contains("s3cret"), "{problems}");
}

#[test]
fn empty_value_in_the_settings_file_may_be_overridden_without_a_warning() {
    let settings = read_settings(Some("service_clients = []"), &[("service_clients", CLIENT)]);
    let settings = settings.unwrap();
    assert_eq!(settings.service_clients.len(), 1);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[rstest]
#[case::shorter("15", 1)]
#[case::as_long("30", 0)]
fn shutdown_timeout_below_the_timeout_of_the_gateway_causes_a_warning(
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

#[test]
fn trusted_proxies_with_every_address_cause_a_warning() {
    let settings = read_settings(None, &[("trusted_proxies", "0.0.0.0/0")]).unwrap();
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].starts_with("trusted_proxies contains every address"));
}

#[test]
fn all_invalid_settings_are_reported_together() {
    let problems = read_settings(
        Some("session_ttl = 0\nworkers = -1\nlog_level = \"x\""),
        &[],
    )
    .unwrap_err();
    assert_eq!(problems.lines().count(), 3, "{problems}");
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
