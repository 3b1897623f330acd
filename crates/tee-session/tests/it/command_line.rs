//! Help, version, settings and exit codes.

use std::process::Output;

use rstest::rstest;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::service::binary;

pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = binary()
        .args(arguments)
        .envs(environment.iter().copied())
        .output();
    output.await.unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
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
        "session create",
    ] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}

/// Every command that does something, with what its help shows of it.
#[rstest]
#[case(&["serve"], true)]
#[case(&["check-config"], true)]
#[case(&["probe"], false)]
#[case(&["client", "new"], false)]
#[case(&["session"], false)]
#[case(&["session", "create"], false)]
#[case(&["session", "show"], false)]
#[case(&["session", "ttl"], false)]
#[case(&["session", "revoke"], false)]
#[case(&["session", "list"], false)]
#[case(&["completions"], false)]
#[case(&["man"], false)]
#[tokio::test]
async fn each_command_has_examples_and_only_those_that_take_settings_show_them(
    #[case] command: &[&str],
    #[case] takes_settings: bool,
) {
    let help = run(&[command, &["--help"]].concat(), &[]).await;
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout);
    assert!(help.contains("Examples:\n  "), "{help}");
    assert!(
        help.contains(&format!("  tee-session {}", command.join(" ")))
            || command == ["completions"],
        "{help}"
    );
    assert_eq!(help.contains("--session-ttl"), takes_settings, "{help}");
}

#[rstest]
#[case::behind(&["session", "list", "--subject", "m", "--session-ttl", "60"])]
#[case::before(&["--session-ttl", "60", "session", "list", "--subject", "m"])]
#[case::file(&["--config", "/nowhere.toml", "completions", "bash"])]
#[tokio::test]
async fn settings_that_nobody_would_read_are_refused(#[case] arguments: &[&str]) {
    let output = run(arguments, &[]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn settings_may_stand_before_and_behind_the_command_and_the_last_one_counts() {
    let arguments = [
        "--workers",
        "3",
        "--session-ttl",
        "60",
        "check-config",
        "--workers",
        "5",
    ];
    let shown = run(&arguments, &[]).await;
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    let shown = text(&shown.stdout);
    for (name, value) in [("session_ttl", "60"), ("workers", "5")] {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(value), "{line}");
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
        for form in [&["check-config"][..], &["check-config", "--json"]] {
            let shown = run(&[form, flags].concat(), &[]).await;
            assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
            let shown = text(&shown.stdout);
            match serde_json::from_str::<Value>(&shown) {
                Err(_) => assert_eq!(shown.matches("(set, not shown)").count(), 2, "{shown}"),
                Ok(told) => {
                    let settings = told["settings"].as_array().unwrap().iter();
                    let mut secrets = settings.filter(|setting| setting["is_secret"] == true);
                    assert!(
                        secrets.all(|setting| setting["value"].is_null()),
                        "{told:#}"
                    );
                }
            }
            for secret in ["s3cret", "1ec1c26b"] {
                assert!(!shown.contains(secret), "{shown}");
            }
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
#[case::redis_user_without_password(&["--redis-url", "redis://s3cret@x"], "redis_url (flag --redis-url): the Redis URL cannot be used: its user has no password")]
#[case::redis_part_without_effect(&["--redis-url", "redis://:s3cret@x?db=3"], "redis_url (flag --redis-url): the Redis URL cannot be used: the query parameter db has no effect")]
#[case::redis_password_with_a_slash(&["--redis-url", "redis://:s3cret/s3cret@x"], "percent-encode them: %23, %2F, %3F")]
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
