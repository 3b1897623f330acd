//! Help, version, settings and exit codes.

use std::process::Output;

use rstest::rstest;
use tokio::net::TcpListener;

use crate::service::{self, binary};

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = binary()
        .args(arguments)
        .envs(environment.iter().copied())
        .output();
    output.await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn help_teaches_commands_settings_sources_and_exit_codes() {
    let help = run(&["--help"], &[]).await;
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout);
    for word in [
        "serve",
        "check-config",
        "--config",
        "--redis-url",
        "--session-ttl",
        "TSA_SESSION_TTL",
        "[default: 1800]",
        "Exit codes",
        "curl",
    ] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}

#[tokio::test]
async fn version_is_that_of_the_package() {
    let version = run(&["--version"], &[]).await;
    assert_eq!(
        text(&version.stdout).trim(),
        format!("tee-session {}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn check_config_shows_settings_with_their_sources_and_no_secret() {
    let environment = [
        ("TSA_SESSION_TTL", "60"),
        ("TSA_REDIS_URL", "redis://:s3cret@localhost"),
        ("TSA_WORKERS", "3"),
    ];
    let shown = run(&["check-config", "--workers", "5"], &environment).await;
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    let words = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        words("session_ttl"),
        "60 environment variable TSA_SESSION_TTL"
    );
    assert_eq!(words("workers"), "5 flag --workers");
    assert_eq!(words("api_port"), "8000 default");
    assert_eq!(
        words("redis_url"),
        "(set, not shown) environment variable TSA_REDIS_URL"
    );
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn check_config_shows_no_secret_wherever_it_stands() {
    const CLIENTS: &str = r#"[{"id": "ci", "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "scopes": ["create"]}]"#;
    const URL: &str = "rediss://user-s3cret:s3cret@localhost";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (url_file, clients_file) = (file("url", URL), file("clients", CLIENTS));
    let config = format!("redis_url = '{URL}'\nservice_clients = '{CLIENTS}'\n");
    let config = file("config.toml", &config);
    let as_flags = ["--redis-url", URL, "--service-clients", CLIENTS];
    let in_files = [
        "--redis-url-file",
        &url_file,
        "--service-clients-file",
        &clients_file,
    ];
    for flags in [as_flags.as_slice(), &in_files, &["--config", &config]] {
        let shown = run(&[&["check-config"], flags].concat(), &[]).await;
        assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
        let shown = text(&shown.stdout);
        assert_eq!(shown.matches("(set, not shown)").count(), 2, "{shown}");
        for secret in ["s3cret", "1ec1c26b"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[rstest]
#[case::certificate_missing(&["--tls-private-key-file", "x"], "tls_certificate_file (default): must be set where")]
#[case::certificate_unreadable(&["--tls-certificate-file", "/none.crt", "--tls-private-key-file", "/none.key"], "/none.crt cannot be read")]
#[case::redis_ca_unreadable(&["--redis-url", "rediss://:s3cret@x", "--redis-tls-ca-file", "/none.crt"], "redis_tls_ca_file (flag --redis-tls-ca-file): ")]
#[case::redis_ca_without_tls(&["--redis-url", "redis://:s3cret@x", "--redis-tls-ca-file", "/none.crt"], "redis_url (flag --redis-url): TLS needs a Redis URL")]
#[case::redis_ca_without_redis(&["--redis-tls-ca-file", "/none.crt"], "redis_url (default): must be set where a redis_tls key is")]
#[case::no_network(&["--trusted-proxies", "10.*"], "trusted_proxies (flag --trusted-proxies): must be IP addresses or networks")]
#[case::no_origin(&["--cors-allowed-origins", "*"], "cors_allowed_origins (flag --cors-allowed-origins): must be origins")]
#[case::no_burst(&["--invalid-token-burst", "0"], "invalid_token_burst (flag --invalid-token-burst): must be")]
#[case::out_of_range(&["--session-ttl", "0"], "session_ttl (flag --session-ttl): must be")]
#[case::off_loopback(&["--api-host", "0.0.0.0"], "service_clients must name at least one client")]
#[case::no_such_file(&["--config", "/nowhere.toml"], "config (file /nowhere.toml): it cannot be read")]
#[case::bad_url(&["--redis-url", "http://:s3cret@x"], "the Redis URL must begin with one of")]
#[tokio::test]
async fn bad_settings_end_it_with_2_and_one_line(#[case] flags: &[&str], #[case] said: &str) {
    for command in ["serve", "check-config"] {
        let output = run(&[&[command], flags].concat(), &[]).await;
        assert_eq!(output.status.code(), Some(2));
        let problems = text(&output.stderr);
        assert!(problems.contains(said), "{problems}");
        assert!(!problems.contains("s3cret"), "{problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
}

#[tokio::test]
async fn a_bad_environment_variable_is_named() {
    let output = run(&[], &[("TSA_API_PORT", "eighty")]).await;
    assert_eq!(output.status.code(), Some(2));
    let problems = text(&output.stderr);
    assert!(
        problems.contains("api_port (environment variable TSA_API_PORT)"),
        "{problems}"
    );
}

#[tokio::test]
async fn an_environment_variable_that_is_no_text_is_refused_and_not_taken_for_unset() {
    use std::os::unix::ffi::OsStrExt;

    let value = std::ffi::OsStr::from_bytes(b"redis://\xff");
    let output = binary()
        .arg("check-config")
        .env("TSA_REDIS_URL", value)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let problems = text(&output.stderr);
    assert!(
        problems.contains("TSA_REDIS_URL): must be UTF-8"),
        "{problems}"
    );
}

/// So that it may be given before an upgrade, and stay during a rollback.
#[tokio::test]
async fn an_environment_variable_that_only_another_version_knows_is_ignored() {
    let output = run(&["check-config"], &[("TSA_OF_ANOTHER_VERSION", "1")]).await;
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn an_unknown_flag_ends_it_with_2() {
    assert_eq!(
        run(&["--sesion-ttl", "1"], &[]).await.status.code(),
        Some(2)
    );
}

#[tokio::test]
async fn a_taken_port_ends_it_with_1_and_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["--api-port", &port], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("cannot be started on 127.0.0.1:{port}")),
        "{said}"
    );
}

#[tokio::test]
async fn a_new_client_gets_a_secret_that_its_setting_lets_in() {
    let made = run(&["client", "new", "--id", "ci", "--scope", "create"], &[]).await;
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let shown = text(&made.stdout);
    let secret = shown
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 43)
        .unwrap();
    let setting = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("TSA_SERVICE_CLIENTS='"));
    let setting = setting.unwrap().strip_suffix('\'').unwrap();
    let service = service::start(&["--service-clients", setting]).await;
    let create = |secret: &str| {
        service
            .request(reqwest::Method::POST, "/v1/sessions")
            .basic_auth("ci", Some(secret))
            .json(&serde_json::json!({"cookies": {"a": "1"}, "base_url": "https://golf.example"}))
            .send()
    };
    assert_eq!(create(secret).await.unwrap().status(), 201);
    assert_eq!(create("another").await.unwrap().status(), 401);
    assert!(!setting.contains(secret));
}

#[rstest]
#[case::no_id(&["client", "new", "--scope", "create"])]
#[case::no_scope(&["client", "new", "--id", "ci"])]
#[case::unknown_scope(&["client", "new", "--id", "ci", "--scope", "fly"])]
#[case::no_command(&["client"])]
#[tokio::test]
async fn an_incomplete_new_client_ends_it_with_2(#[case] arguments: &[&str]) {
    assert_eq!(run(arguments, &[]).await.status.code(), Some(2));
}

#[tokio::test]
async fn a_new_client_with_a_bad_name_is_refused() {
    let made = run(&["client", "new", "--id", "a:b", "--scope", "create"], &[]).await;
    assert_eq!(made.status.code(), Some(1));
    assert!(
        text(&made.stderr).contains("id must be"),
        "{}",
        text(&made.stderr)
    );
    assert!(made.stdout.is_empty());
}
