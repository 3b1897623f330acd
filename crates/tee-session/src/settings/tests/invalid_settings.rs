//! Tests of the errors for invalid settings.

use super::*;

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
#[case::space(" ")]
#[case::empty_list("[]")]
#[case::comma(",")]
fn invalid_redis_url_is_rejected_and_does_not_select_the_embedded_store(#[case] value: &str) {
    let flags = [("redis_url", value), ("allow_anonymous_clients", "true")];
    let problems = read_settings(None, &flags).unwrap_err();
    assert!(
        problems.contains("redis_url (flag --redis-url)"),
        "{problems}"
    );
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
