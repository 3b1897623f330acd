//! Tests of the command line: help texts, version, settings and exit codes.

use std::process::{Output, Stdio};

use rstest::rstest;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::service::{Service, binary, closed_pipe};

pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = binary()
        .args(arguments)
        .envs(environment.iter().copied())
        .output();
    output.await.unwrap()
}

pub(crate) fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn help_of_the_program_lists_commands_settings_environment_variables_and_exit_codes() {
    let help = run(&["--help"], &[]).await;
    assert_eq!(help.status.code(), Some(0));
    let help = to_text(&help.stdout);
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

/// Checks the help text of each command. Only a command that reads settings may list the settings.
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
async fn help_of_a_command_has_examples_and_lists_settings_only_if_the_command_reads_settings(
    #[case] command: &[&str],
    #[case] takes_settings: bool,
) {
    let help = run(&[command, &["--help"]].concat(), &[]).await;
    assert_eq!(help.status.code(), Some(0));
    let help = to_text(&help.stdout);
    assert!(help.contains("Examples:\n  "), "{help}");
    assert!(
        help.contains(&format!("  tee-session {}", command.join(" ")))
            || command == ["completions"],
        "{help}"
    );
    assert_eq!(help.contains("--session-ttl"), takes_settings, "{help}");
}

#[rstest]
#[case::after_the_command(&["session", "list", "--subject", "m", "--session-ttl", "60"])]
#[case::before_the_command(&["--session-ttl", "60", "session", "list", "--subject", "m"])]
#[case::settings_file(&["--config", "/nowhere.toml", "completions", "bash"])]
#[tokio::test]
async fn flag_for_a_setting_is_rejected_by_a_command_that_reads_no_settings(
    #[case] arguments: &[&str],
) {
    let output = run(arguments, &[]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn flags_for_settings_may_precede_or_follow_the_command_and_the_last_value_applies() {
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
    let shown = to_text(&shown.stdout);
    for (name, value) in [("session_ttl", "60"), ("workers", "5")] {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(value), "{line}");
    }
}

#[tokio::test]
async fn version_flag_prints_the_version_of_the_package() {
    let version = run(&["--version"], &[]).await;
    assert_eq!(
        to_text(&version.stdout).trim(),
        format!("tee-session {}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn check_config_command_shows_settings_with_their_sources_and_no_secrets() {
    let environment = [
        ("TSA_SESSION_TTL", "60"),
        ("TSA_REDIS_URL", "redis://:s3cret@localhost"),
        ("TSA_WORKERS", "3"),
    ];
    let shown = run(&["check-config", "--workers", "5"], &environment).await;
    assert_eq!(shown.status.code(), Some(0), "{}", to_text(&shown.stderr));
    let shown = to_text(&shown.stdout);
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
async fn check_config_command_hides_secrets_that_flags_or_files_set() {
    const CLIENTS: &str = r#"[{"id": "ci", "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "scopes": ["create"]}]"#;
    const URL: &str = "rediss://user-s3cret:s3cret@localhost";
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
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
            assert_eq!(shown.status.code(), Some(0), "{}", to_text(&shown.stderr));
            let shown = to_text(&shown.stdout);
            match serde_json::from_str::<Value>(&shown) {
                Err(_) => assert_eq!(shown.matches("(set, not shown)").count(), 2, "{shown}"),
                Ok(output) => {
                    let settings = output["settings"].as_array().unwrap().iter();
                    let mut secrets = settings.filter(|setting| setting["is_secret"] == true);
                    assert!(
                        secrets.all(|setting| setting["value"].is_null()),
                        "{output:#}"
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
#[case::certificate_missing(&["--tls-private-key-file", "x"], "tls_certificate_file must be set if tls_private_key_file is set")]
#[case::certificate_unreadable(&["--tls-certificate-file", "/none.crt", "--tls-private-key-file", "/none.key"], "/none.crt cannot be read")]
#[case::redis_ca_unreadable(&["--redis-url", "rediss://:s3cret@x", "--redis-tls-ca-file", "/none.crt"], "redis_tls_ca_file (flag --redis-tls-ca-file): ")]
#[case::redis_ca_without_tls(&["--redis-url", "redis://:s3cret@x", "--redis-tls-ca-file", "/none.crt"], "redis_url (flag --redis-url): TLS settings require a Redis URL")]
#[case::redis_ca_without_redis(&["--redis-tls-ca-file", "/none.crt"], "redis_url must be set if a redis_tls key is set")]
#[case::invalid_proxy_network(&["--trusted-proxies", "10.*"], "trusted_proxies (flag --trusted-proxies): the proxies must be IP addresses or networks")]
#[case::invalid_cors_origin(&["--cors-allowed-origins", "*"], "cors_allowed_origins (flag --cors-allowed-origins): the origins must be")]
#[case::zero_burst(&["--invalid-token-burst", "0"], "invalid_token_burst (flag --invalid-token-burst): the value must be")]
#[case::session_ttl_out_of_range(&["--session-ttl", "0"], "session_ttl (flag --session-ttl): the value must be")]
#[case::no_service_clients_on_a_non_loopback_address(&["--api-host", "0.0.0.0"], "add a client with `tee-session client new --id ID --scope create`")]
#[case::metrics_and_api_on_one_port(&["--metrics-port", "8000"], "metrics_port and api_port name the same port")]
#[case::metrics_on_all_addresses(&["--metrics-port", "8000", "--metrics-host", "0.0.0.0"], "metrics_port and api_port name the same port")]
#[case::missing_settings_file(&["--config", "/nowhere.toml"], "config (file /nowhere.toml): the file cannot be read")]
#[case::redis_user_without_password(&["--redis-url", "redis://s3cret@x"], "redis_url (flag --redis-url): the Redis URL cannot be used: its user has no password")]
#[case::redis_part_without_effect(&["--redis-url", "redis://:s3cret@x?db=3"], "redis_url (flag --redis-url): the Redis URL cannot be used: the query parameter db has no effect")]
#[case::redis_password_with_a_slash(&["--redis-url", "redis://:s3cret/s3cret@x"], "percent-encode them: %23, %2F, %3F")]
#[case::unsupported_redis_scheme(&["--redis-url", "http://:s3cret@x"], "the Redis URL must begin with one of")]
#[tokio::test]
async fn command_with_invalid_settings_exits_with_2_and_prints_a_one_line_error(
    #[case] flags: &[&str],
    #[case] expected: &str,
) {
    for command in ["serve", "check-config"] {
        let output = run(&[&[command], flags].concat(), &[]).await;
        assert_eq!(output.status.code(), Some(2));
        let problems = to_text(&output.stderr);
        assert!(problems.contains(expected), "{problems}");
        assert!(!problems.contains("s3cret"), "{problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
}

#[tokio::test]
async fn error_for_an_invalid_environment_variable_names_the_variable() {
    let output = run(&[], &[("TSA_API_PORT", "eighty")]).await;
    assert_eq!(output.status.code(), Some(2));
    let problems = to_text(&output.stderr);
    assert!(
        problems.contains("api_port (environment variable TSA_API_PORT)"),
        "{problems}"
    );
}

#[tokio::test]
async fn environment_variable_that_is_not_utf8_is_rejected() {
    use std::os::unix::ffi::OsStrExt;

    let value = std::ffi::OsStr::from_bytes(b"redis://\xff");
    let output = binary()
        .arg("check-config")
        .env("TSA_REDIS_URL", value)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let problems = to_text(&output.stderr);
    assert!(
        problems.contains("TSA_REDIS_URL): the value must be UTF-8"),
        "{problems}"
    );
}

/// Checks that an unknown environment variable causes a warning, and has no other effect. An
/// operator may set a variable of a newer release before an upgrade, and keep it during a rollback.
#[rstest]
#[case::newer_release(
    "TSA_OF_ANOTHER_VERSION",
    "The environment variable TSA_OF_ANOTHER_VERSION has no effect: there is no such setting"
)]
#[case::misspelled(
    "TSA_SESION_TTL",
    "The environment variable TSA_SESION_TTL has no effect: there is no such setting. Did you mean \
     TSA_SESSION_TTL?"
)]
#[case::lower_case(
    "tsa_redis_url",
    "The environment variable tsa_redis_url has no effect: there is no such setting. Did you mean \
     TSA_REDIS_URL?"
)]
#[case::settings_file_in_mixed_case(
    "Tsa_Config",
    "The environment variable Tsa_Config has no effect: there is no such setting. Did you mean \
     TSA_CONFIG?"
)]
#[tokio::test]
async fn unknown_environment_variable_is_reported_and_ignored(
    #[case] name: &str,
    #[case] warning: &str,
) {
    let environment = [(name, "s3cret"), ("TSA_URL", "x"), ("TSA_CA_FILE", "x")];
    let output = run(&["check-config"], &environment).await;
    assert_eq!(output.status.code(), Some(0));
    let shown = to_text(&output.stdout);
    assert!(shown.ends_with(&format!("warning {warning}\n")), "{shown}");
    assert_eq!(shown.matches("warning").count(), 1, "{shown}");
    let output = run(&["check-config", "--json"], &environment).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["warnings"], serde_json::json!([warning]));

    let mut command = binary();
    command.env(name, "s3cret");
    let service = Service::start(command, &[]).await;
    let events = service.events("Questionable setting");
    assert_eq!(events[0]["warning"], warning);
    assert!(!service.output().contains("s3cret"));
}

#[tokio::test]
async fn empty_environment_variable_is_an_error_only_if_the_settings_file_has_a_value() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.toml");
    std::fs::write(&config, "redis_url = \"redis://:s3cret@127.0.0.1\"\n").unwrap();
    let flags = ["check-config", "--config", config.to_str().unwrap()];
    let empty = [("TSA_REDIS_URL", "")];
    let output = run(&flags, &empty).await;
    assert_eq!(output.status.code(), Some(2));
    let problems = to_text(&output.stderr);
    let expected = format!(
        "tee-session: redis_url (environment variable TSA_REDIS_URL): the value is empty, but file \
         {} sets redis_url: set a value, or remove one of the two\n",
        config.display()
    );
    assert_eq!(problems, expected);

    let output = run(&["check-config"], &empty).await;
    assert_eq!(output.status.code(), Some(0));
    let shown = to_text(&output.stdout);
    let warning =
        "redis_url has no effect: its value is empty (environment variable TSA_REDIS_URL)";
    assert!(shown.contains(warning), "{shown}");
}

#[tokio::test]
async fn check_config_command_shows_ids_scopes_and_number_of_secrets_of_service_clients() {
    const CLIENTS: &str = r#"[
        {"id": "booking", "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "scopes": ["create"]},
        {"id": "support", "secret_sha256": ["1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0", "2ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"], "scopes": ["admin", "revoke"]}
    ]"#;
    let environment = [("TSA_SERVICE_CLIENTS", CLIENTS)];
    let shown = run(&["check-config"], &environment).await;
    let shown = to_text(&shown.stdout);
    for line in [
        "service client  booking  create         1 secret",
        "service client  support  admin, revoke  2 secrets",
    ] {
        assert!(shown.contains(line), "{line} is missing in {shown}");
    }
    let report = run(&["check-config", "--json"], &environment).await;
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let expected = serde_json::json!([
        {"id": "booking", "scopes": ["create"], "secrets": 1},
        {"id": "support", "scopes": ["admin", "revoke"], "secrets": 2},
    ]);
    assert_eq!(report["service_clients"], expected);
    assert!(
        !format!("{shown}{report}").contains("ec1c26b"),
        "{shown} {report}"
    );
}

#[tokio::test]
async fn short_help_fits_on_a_screen_and_names_the_long_help() {
    let short = run(&["-h"], &[]).await;
    assert_eq!(short.status.code(), Some(0));
    let short = to_text(&short.stdout);
    assert!(short.lines().count() <= 40, "{short}");
    for word in [
        "check-config",
        "session",
        "--config",
        "--api-port",
        "--redis-url",
        "--service-clients",
        "--help lists all settings",
        "/docs",
    ] {
        assert!(short.contains(word), "{word} is missing in {short}");
    }
    assert!(!short.contains("--session-ttl"), "{short}");
}

#[tokio::test]
async fn flags_host_and_port_are_aliases_of_api_host_and_api_port() {
    let shown = run(
        &["check-config", "--host", "127.0.0.2", "--port", "8080"],
        &[],
    )
    .await;
    assert_eq!(shown.status.code(), Some(0), "{}", to_text(&shown.stderr));
    let shown = to_text(&shown.stdout);
    for (name, value) in [("api_host", "127.0.0.2"), ("api_port", "8080")] {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(value), "{line}");
    }
}

#[tokio::test]
async fn unknown_command_line_flag_exits_with_2() {
    assert_eq!(
        run(&["--sesion-ttl", "1"], &[]).await.status.code(),
        Some(2)
    );
}

#[tokio::test]
async fn service_exits_with_1_and_names_the_address_if_its_port_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["--api-port", &port], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let message = to_text(&output.stderr);
    assert!(
        message.contains(&format!(
            "the server cannot be started: the service cannot listen on 127.0.0.1:{port} (api_port): "
        )),
        "{message}"
    );
}

#[tokio::test]
async fn service_exits_with_1_and_names_the_metrics_address_if_the_metrics_port_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["--api-port", "0", "--metrics-port", &port], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let message = to_text(&output.stderr);
    let address = format!("the service cannot listen on 127.0.0.1:{port} (metrics_port): ");
    assert!(message.contains(&address), "{message}");
    assert!(message.contains("set another port"), "{message}");
}

/// No machine has the address 192.0.2.1, which is reserved for documentation (RFC 5737).
#[tokio::test]
async fn service_exits_with_1_and_gives_advice_if_metrics_host_is_no_address_of_the_machine() {
    let flags = [
        "--api-port",
        "0",
        "--metrics-port",
        "0",
        "--metrics-host",
        "192.0.2.1",
    ];
    let output = run(&flags, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let message = to_text(&output.stderr);
    let address = "cannot listen on 192.0.2.1:0 (metrics_host): ";
    assert!(message.contains(address), "{message}");
    let advice = "set an address of this machine";
    assert!(message.contains(advice), "{message}");
}

/// Checks that a command whose output is read only in part, as in `check-config | head`, ends like
/// other programs: without an error text.
#[rstest]
#[case::check_config(&["check-config"])]
#[case::check_config_as_json(&["check-config", "--json"])]
#[case::client_new(&["client", "new", "--id", "ci", "--scope", "create"])]
#[case::completions(&["completions", "bash"])]
#[case::manual(&["man"])]
#[tokio::test]
async fn command_whose_standard_output_is_closed_prints_no_error(#[case] arguments: &[&str]) {
    let mut command = binary();
    command
        .args(arguments)
        .stdout(closed_pipe())
        .stderr(Stdio::piped());
    let process = command.spawn().unwrap();
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
