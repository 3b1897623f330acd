use std::{fs, path::Path};

use rstest::rstest;
use tempfile::NamedTempFile;

use super::*;

fn read(file: Option<&str>, flags: &[(&str, &str)]) -> Result<Settings, String> {
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

/// From a link to `config`, which a package of the crate holds as a folder.
fn config(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    fs::read_to_string(folder.join(name)).unwrap()
}

const CLIENT: &str = r#"[{"id": "ci", "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "scopes": ["create"]}]"#;

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = read(None, &[]).unwrap();
    assert_eq!(settings.api.address.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.api.policy, SessionPolicy::default());
    assert_eq!(settings.api.max_body_bytes, 65_536);
    assert!(settings.api.readiness_requires_store);
    assert_eq!(settings.api.shutdown_delay, Duration::ZERO);
    assert_eq!(settings.api.shutdown_timeout, Duration::from_secs(15));
    assert_eq!(settings.api.metrics_address, None);
    assert_eq!(settings.memory_max_sessions, 100_000);
    assert_eq!(settings.log_level, LevelFilter::INFO);
    assert_eq!(settings.log_format, LogFormat::Json);
    assert!(settings.redis.is_none());
    assert!(settings.api.workers >= 1);
}

#[test]
fn a_flag_wins_over_the_file() {
    let settings = read(
        Some("session_ttl = 60\nworkers = 3"),
        &[("session_ttl", "90")],
    )
    .unwrap();
    assert_eq!(settings.api.policy.idle_timeout(), Duration::from_secs(90));
    assert_eq!(settings.api.workers, 3);
}

#[rstest]
#[case::none_by_default("", None)]
#[case::zero("max_sessions_per_subject = 0", None)]
#[case::zero_with_an_action(
    "max_sessions_per_subject = 0\nmax_sessions_per_subject_action = \"refuse\"",
    None
)]
#[case::oldest("max_sessions_per_subject = 1", Some((1, WhenReached::EvictOldest)))]
#[case::oldest_by_name(
    "max_sessions_per_subject = 2\nmax_sessions_per_subject_action = \"evict_oldest\"",
    Some((2, WhenReached::EvictOldest))
)]
#[case::refuse(
    "max_sessions_per_subject = 1000\nmax_sessions_per_subject_action = \"refuse\"",
    Some((1_000, WhenReached::Refuse))
)]
fn a_subject_may_have_so_many_sessions(
    #[case] file: &str,
    #[case] expected: Option<(usize, WhenReached)>,
) {
    let limit = read(Some(file), &[]).unwrap().api.policy.subject_limit();
    let limit = limit.map(|limit| (limit.max.get(), limit.when_reached));
    assert_eq!(limit, expected);
}

#[test]
fn a_list_is_an_array_in_the_file_and_commas_elsewhere() {
    let in_file = read(
        Some("allowed_base_hosts = [\"a.example\", \".b.example\"]"),
        &[],
    )
    .unwrap();
    let in_flag = read(None, &[("allowed_base_hosts", "a.example,.b.example")]).unwrap();
    assert_eq!(
        in_file.api.allowed_base_hosts,
        in_flag.api.allowed_base_hosts
    );
    let url = tee_session_domain::BaseUrl::new("https://c.example").unwrap();
    assert!(!in_file.api.allowed_base_hosts.allows(&url));
}

#[test]
fn clients_are_read_from_tables_of_the_file_and_from_json() {
    let table = r#"
        [[service_clients]]
        id = "ci"
        secret_sha256 = ["1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"]
        scopes = ["create"]
    "#;
    assert!(
        !read(Some(table), &[])
            .unwrap()
            .api
            .service_clients
            .is_empty()
    );
    let settings = read(
        None,
        &[("service_clients", CLIENT), ("api_host", "0.0.0.0")],
    )
    .unwrap();
    assert!(!settings.api.service_clients.is_empty());
}

#[test]
fn a_secret_is_read_from_the_file_that_its_own_key_names() {
    let secret = NamedTempFile::new().unwrap();
    fs::write(&secret, "redis://:s3cret@127.0.0.1:6379/0\n").unwrap();
    let path = secret.path().to_str().unwrap();
    assert!(
        read(None, &[("redis_url_file", path)])
            .unwrap()
            .redis
            .is_some()
    );
    let sources = Sources::read(None, vec![("redis_url_file".to_owned(), path.to_owned())]);
    assert_eq!(
        sources.unwrap().secret_file("redis_url"),
        Some(secret.path())
    );
    let both = read(
        None,
        &[("redis_url_file", path), ("redis_url", "redis://x")],
    )
    .unwrap_err();
    assert!(
        both.contains("give redis_url or redis_url_file, not both"),
        "{both}"
    );
    fs::write(&secret, "\n").unwrap();
    let empty = read(None, &[("redis_url_file", path)]).unwrap_err();
    assert!(empty.contains("is empty"), "{empty}");
    let gone = read(None, &[("redis_url_file", "/nowhere")]).unwrap_err();
    assert!(
        gone.contains("redis_url_file (flag --redis-url-file): /nowhere cannot be read"),
        "{gone}"
    );
}

#[rstest]
#[case::unknown_key("sesion_ttl = 1", "sesion_ttl (file ")]
#[case::zero("session_ttl = 0", "must be a whole number from 1 to 31536000")]
#[case::too_large("session_ttl = 31536001", "must be a whole number from 1 to 31536000")]
#[case::negative("session_ttl = -1", "must be a whole number from 1 to 31536000")]
#[case::fraction("session_ttl = 1.5", "must be a whole number from 1 to 31536000")]
#[case::text("session_ttl = \"soon\"", "must be a whole number from 1 to 31536000")]
#[case::port("api_port = 65536", "must be a whole number from 0 to 65535")]
#[case::host(
    "api_host = \"no such host\"",
    "must be an IP address, or a name that resolves"
)]
#[case::switch("readiness_requires_store = \"maybe\"", "must be true or false")]
#[case::level("log_level = \"LOUD\"", "must be ERROR, WARN, INFO, DEBUG or TRACE")]
#[case::format("log_format = \"xml\"", "the log format must be json or text")]
#[case::too_many_sessions_per_subject(
    "max_sessions_per_subject = 1001",
    "must be a whole number from 0 to 1000"
)]
#[case::action_alone(
    "max_sessions_per_subject_action = \"evict\"",
    "must be evict_oldest or refuse"
)]
#[case::storage(
    "storage_format = \"open\"",
    "the storage format must be sealed or plain"
)]
#[case::token("token_format = \"jwt\"", "the token format must be uuid or opaque")]
#[case::hosts(
    "allowed_base_hosts = [\"https://golf.example\"]",
    "must be hosts such as golf.example"
)]
#[case::plain_in_cluster(
    "accept_plain = true\nredis_url = \"redis-cluster://:s3cret@localhost:7000\"",
    "accept_plain (file "
)]
#[case::redis(
    "redis_url = \"http://:s3cret@x\"",
    "the Redis URL must begin with one of"
)]
#[case::clients("service_clients = \"s3cret\"", "must be a list of clients")]
#[case::client_scope(
    "service_clients = [{id = \"a\", secret_sha256 = \"s3cret\", scopes = [\"fly\"]}]",
    "client 1: scopes must be one or more of: create, introspect, revoke, admin"
)]
#[case::off_loopback(
    "api_host = \"0.0.0.0\"",
    "service_clients must name at least one client"
)]
#[case::no_toml("= s3cret", "it is not valid TOML")]
fn what_is_wrong_is_said_with_its_source_and_without_its_text(
    #[case] file: &str,
    #[case] said: &str,
) {
    let problems = read(Some(file), &[]).unwrap_err();
    assert!(problems.contains(said), "{problems}");
    assert!(!problems.contains("s3cret"), "{problems}");
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[test]
fn every_problem_is_told_at_once() {
    let problems = read(
        Some("session_ttl = 0\nworkers = -1\nlog_level = \"x\""),
        &[],
    )
    .unwrap_err();
    assert_eq!(problems.lines().count(), 3, "{problems}");
}

#[test]
fn the_default_file_says_every_key_with_its_default() {
    let text = config("default.toml");
    // Keys without a default stand there as comments.
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
        let said = table[key.name].to_string();
        assert_eq!(said.trim_matches('"'), key.default, "{}", key.name);
    }
    read(Some(&text), &[]).unwrap();
}

#[test]
fn the_production_file_is_valid_with_a_client() {
    let production = config("production.toml");
    let problems = read(Some(&production), &[]).unwrap_err();
    assert!(problems.contains("service_clients"), "{problems}");
    let settings = read(Some(&production), &[("service_clients", CLIENT)]).unwrap();
    assert_eq!(
        settings.api.policy.absolute_lifetime(),
        Some(Duration::from_secs(86_400))
    );
    assert_eq!(settings.api.shutdown_delay, Duration::from_secs(5));
    assert!(!settings.api.readiness_requires_store);
}

#[test]
fn the_settings_are_shown_with_their_sources_and_without_secrets() {
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
