use rstest::rstest;

use super::*;

/// Parses a Redis URL that is expected to be valid.
///
/// # Panics
/// Panics if `url` is not a valid Redis URL.
fn parsed(url: &str) -> RedisUrl {
    RedisUrl::parse(url).unwrap()
}

async fn login(credentials: &Credentials) -> Option<(Option<String>, String)> {
    let login = credentials.current().await?;
    Some((login.username, login.password.to_string()))
}

fn owned(login: Option<(Option<&str>, &str)>) -> Option<(Option<String>, String)> {
    login.map(|(username, password)| (username.map(str::to_owned), password.to_owned()))
}

fn reason(url: &str) -> String {
    let error = RedisUrl::parse(url).map(drop).unwrap_err();
    let RedisSettingsError::Form { reason } = error else {
        panic!("{error:?}")
    };
    reason
}

#[rstest]
#[case::host("redis://redis-1", "redis-1", 6_379, None)]
#[case::port("redis://redis-1:7000/", "redis-1", 7_000, None)]
#[case::database("redis://redis-1/12", "redis-1", 6_379, Some(12))]
#[case::database_0("redis://redis-1/0", "redis-1", 6_379, None)]
#[case::ipv4("redis://10.0.0.7:1", "10.0.0.7", 1, None)]
#[case::ipv6("redis://[::1]:1", "::1", 1, None)]
#[case::trailing_white_space("redis://redis-1:1/2 \n", "redis-1", 1, Some(2))]
fn redis_url_of_a_single_server_is_parsed_into_address_and_database(
    #[case] url: &str,
    #[case] host: &str,
    #[case] port: u16,
    #[case] database: Option<u16>,
) {
    let parsed = parsed(url);
    let Deployment::One(Server::Tcp(address)) = parsed.deployment else {
        panic!("{:?}", parsed.deployment)
    };
    assert_eq!(address, Address::new(host, port));
    assert_eq!(parsed.database, database);
}

#[rstest]
#[case::no_credentials("redis://h", None)]
#[case::password_only("redis://:p%40ss@h", Some((None, "p@ss")))]
#[case::user_and_password("redis://us%3Aer:p%2Fw@h", Some((Some("us:er"), "p/w")))]
#[case::raw_at_sign("redis://user:p@ss@h/3", Some((Some("user"), "p@ss")))]
#[case::raw_special_characters("redis://user:p:[] ^|%\\+@h", Some((Some("user"), "p:[] ^|%\\+")))]
#[case::encoded_delimiters("rediss://u:%23%2F%3F%25%0A@h", Some((Some("u"), "#/?%\n")))]
#[case::cluster("redis-cluster://u:p@h", Some((Some("u"), "p")))]
#[case::unix("redis+unix://u:p%2F@localhost/run/r.sock", Some((Some("u"), "p/")))]
#[case::unix_password_only("redis+unix://:p@localhost/run/r.sock", Some((None, "p")))]
#[tokio::test]
async fn user_and_password_in_a_redis_url_are_percent_decoded(
    #[case] url: &str,
    #[case] expected: Option<(Option<&str>, &str)>,
) {
    assert_eq!(login(&parsed(url).credentials).await, owned(expected));
}

#[tokio::test]
async fn sentinel_url_is_parsed_into_sentinel_addresses_service_name_and_passwords() {
    let url = "redis-sentinel://user:pw@a/3?node=b:2&sentinelServiceName=main&node=[::1]:3\
               &sentinelUsername=s&sentinelPassword=t%26@";
    let parsed = parsed(url);
    let Deployment::Sentinel {
        sentinels,
        service,
        credentials,
    } = parsed.deployment
    else {
        panic!("{:?}", parsed.deployment)
    };
    let expected = [("a", 26_379), ("b", 2), ("::1", 3)];
    assert_eq!(
        sentinels,
        expected.map(|(host, port)| Address::new(host, port))
    );
    assert_eq!(service, "main");
    assert_eq!(login(&credentials).await, owned(Some((Some("s"), "t&@"))));
    assert_eq!(
        login(&parsed.credentials).await,
        owned(Some((Some("user"), "pw")))
    );
    assert_eq!(parsed.database, Some(3));
}

#[rstest]
#[case::one_seed("redis-cluster://a:1", &[("a", 1)])]
#[case::slash("redis-cluster://a:1/?node=b:2&node=[::1]:3", &[("a", 1), ("b", 2), ("::1", 3)])]
fn cluster_url_is_parsed_into_the_addresses_of_the_servers_that_it_names(
    #[case] url: &str,
    #[case] seeds: &[(&str, u16)],
) {
    let Deployment::Cluster(found) = parsed(url).deployment else {
        panic!("no cluster")
    };
    let seeds: Vec<_> = seeds.iter().map(|(h, p)| Address::new(h, *p)).collect();
    assert_eq!(found, seeds);
}

#[rstest]
#[case::path("redis+unix:///run/my%20redis.sock", "/run/my redis.sock", None)]
#[case::localhost("redis+unix://localhost/run/r@1.sock", "/run/r@1.sock", None)]
#[case::database("redis+unix:///r.sock?db=7", "/r.sock", Some(7))]
#[case::all_parts("redis+unix://u:p@localhost/r.sock?db=7", "/r.sock", Some(7))]
fn unix_socket_url_is_parsed_into_path_and_database(
    #[case] url: &str,
    #[case] path: &str,
    #[case] database: Option<u16>,
) {
    let parsed = parsed(url);
    assert!(
        matches!(
            &parsed.deployment,
            Deployment::One(Server::Unix(found)) if found.to_str() == Some(path)
        ),
        "{:?}",
        parsed.deployment
    );
    assert_eq!(parsed.database, database);
}

/// In each URL, the text `s3cret` represents a secret. No error text may contain this secret.
#[rstest]
#[case::database_as_query_parameter("redis://h?db=3", "the query parameter db has no effect")]
#[case::node_of_single_server("redis://h?node=s3cret:1", "the query parameter node has no effect")]
#[case::unknown_parameter(
    "redis://:s3cret@h/3?timeout=s3cret",
    "the query parameter timeout has no effect"
)]
#[case::parameter_in_other_case(
    "redis-cluster://h?Node=a:1",
    "the query parameter Node has no effect"
)]
#[case::parameter_of_another_deployment_kind(
    "redis-cluster://h?sentinelPassword=s3cret",
    "the query parameter sentinelPassword has no effect"
)]
#[case::name_with_special_character("redis://h?s3cret!=1", "a query parameter has no effect")]
#[case::name_too_long(
    "redis://h?s3cret-s3cret-s3cret-s3cret-s3cret=1",
    "a query parameter has no effect"
)]
#[case::empty_name("redis://h?=s3cret", "a query parameter has no effect")]
#[case::empty_query("redis://h?", "the empty query (?) has no effect")]
#[case::empty_query_of_a_socket("redis+unix:///r.sock?&", "the empty query (?) has no effect")]
#[case::cut_password_looks_like_parameter(
    "redis://u:1?s3cret=x@h",
    "a query parameter has no effect; if"
)]
#[case::sentinel_password_cut(
    "redis-sentinel://h?sentinelServiceName=m&sentinelPassword=a&s3cret",
    "a query parameter after sentinelPassword has no effect; if the password contains &"
)]
#[case::fragment("redis://h/3#s3cret", "the fragment (after #) has no effect")]
#[case::empty_fragment("redis+unix:///r.sock#", "the fragment (after #) has no effect")]
#[case::path_of_cluster("redis-cluster://:s3cret@h:1/0", "the path has no effect")]
#[case::database_not_a_number(
    "redis://:s3cret@h/zero",
    "the path must be the number of a database"
)]
#[case::signed_database("redis://h/+3", "the path must be the number of a database")]
#[case::database_too_large("redis://h/65536", "the path must be the number of a database")]
#[case::trailing_slash_after_database("redis://h/3/", "the path must be the number of a database")]
#[case::db_not_a_number(
    "redis+unix:///r.sock?db=s3cret",
    "db must be the number of a database"
)]
#[case::empty_db("redis+unix:///r.sock?db=", "db must be the number of a database")]
#[case::repeated_db("redis+unix:///r.sock?db=1&db=1", "the query parameter db is repeated")]
#[case::repeated_service(
    "redis-sentinel://h?sentinelServiceName=m&sentinelServiceName=s3cret",
    "the query parameter sentinelServiceName is repeated"
)]
#[case::no_service("redis-sentinel://:s3cret@h", "sentinelServiceName is missing")]
#[case::empty_service(
    "redis-sentinel://h?sentinelServiceName=",
    "sentinelServiceName is missing"
)]
#[case::node_without_port(
    "redis-cluster://:s3cret@h?node=s3cret",
    "each node must be given as host:port"
)]
#[case::no_host("redis://", "the host is missing")]
#[case::path_without_host("redis:///3", "the host is missing")]
#[case::password_without_host("redis://:s3cret@", "the host is missing")]
#[case::no_seed("redis-cluster://?node=a:1", "the host is missing")]
#[case::bad_port("redis://:s3cret@h:99999", "the port must be a number")]
#[case::line_break("redis://:s3cret\n@h", "it contains a control character")]
#[case::two_lines("redis://h\nredis://:s3cret@h", "it contains a control character")]
#[case::not_utf8("redis://:s3cret%ff@h", "must be UTF-8")]
#[case::user_without_password("redis://s3cret@h", "its user has no password")]
#[case::user_with_empty_password("redis://s3cret:@h", "its user has no password")]
#[case::cluster_user_without_password("redis-cluster://s3cret@h", "its user has no password")]
#[case::socket_user_without_password(
    "redis+unix://s3cret@localhost/r.sock",
    "its user has no password"
)]
#[case::empty_password("redis://:@h", "the password before @ is empty")]
#[case::empty_credentials("redis://@h", "the password before @ is empty")]
#[case::sentinel_user_without_password(
    "redis-sentinel://h?sentinelServiceName=m&sentinelUsername=s3cret",
    "sentinelUsername needs sentinelPassword"
)]
#[case::empty_sentinel_password(
    "redis-sentinel://h?sentinelServiceName=m&sentinelPassword=",
    "sentinelPassword is empty"
)]
#[case::socket_with_host("redis+unix://s3cret/r.sock", "a Unix socket has no host and port")]
#[case::socket_with_port(
    "redis+unix://localhost:1/r.sock",
    "a Unix socket has no host and port"
)]
#[case::socket_credentials_without_host(
    "redis+unix://u:s3cret@/r.sock",
    "credentials for a Unix socket need the host localhost"
)]
#[case::socket_without_path("redis+unix://localhost", "the path of the Unix socket is missing")]
#[case::socket_with_empty_path("redis+unix:///?db=1", "the path of the Unix socket is missing")]
fn error_for_an_invalid_redis_url_names_the_invalid_part_and_hides_the_secret(
    #[case] url: &str,
    #[case] expected: &str,
) {
    let reason = reason(url);
    assert!(reason.contains(expected), "{reason}");
    assert!(!reason.contains("s3cret"), "{reason}");
}

#[rstest]
#[case::slash("redis://u:s3/cret@h/3")]
#[case::question_mark("redis://u:s3?cret@h")]
#[case::fragment("redis://u:s3#cret@h")]
#[case::delimiter_first("rediss://:/cret@h")]
#[case::after_an_at_sign("redis://u:s3@x/cret@h")]
#[case::after_digits("redis://u:12/34@h")]
#[case::looks_like_parameter("redis://u:12?cret=34@h")]
#[case::digits_and_fragment("redis://u:12/34#56@h/3")]
#[case::password_only("redis://:12/34@h")]
#[case::cluster("redis-cluster://u:12/cret@h:1?node=b:2")]
#[case::cluster_node("redis-cluster://u:12?node=cret@h:1")]
#[case::sentinel("redis-sentinel://u:12/cret@h?sentinelServiceName=m")]
#[case::socket("redis+unix://u:12/cret@localhost/r.sock")]
#[case::socket_password_only("redis+unix://:12/cret@localhost/r.sock")]
#[case::socket_question_mark("redis+unix://u:s3?cret@localhost/r.sock")]
fn error_for_an_unencoded_delimiter_in_a_redis_url_password_advises_percent_encoding(
    #[case] url: &str,
) {
    let reason = reason(url);
    assert!(
        reason.contains("percent-encode them: %23, %2F, %3F"),
        "{reason}"
    );
    for piece in ["cret", "12", "34", "56"] {
        assert!(!reason.contains(piece), "{reason}");
    }
}

#[rstest]
#[case::query_parameter("redis://h?db=3")]
#[case::path("redis://u:p@h/zero")]
#[case::user_without_password("redis://u@h")]
fn error_for_an_invalid_part_other_than_the_password_does_not_advise_percent_encoding(
    #[case] url: &str,
) {
    let reason = reason(url);
    assert!(!reason.contains("percent-encode"), "{reason}");
}

#[rstest]
#[case::credentials_only("redis://u:p@h/0", "redis://h", None)]
#[case::tls("redis://h", "rediss://h", Some("scheme"))]
#[case::deployment_kind("redis://h", "redis-cluster://h", Some("scheme"))]
#[case::port("redis://h", "redis://h:6380", Some("server"))]
#[case::tcp_and_unix("redis://h", "redis+unix:///h", Some("server"))]
#[case::database("redis://h/1", "redis://h/2", Some("database"))]
#[case::cluster_node(
    "redis-cluster://a:1?node=b:2",
    "redis-cluster://a:1?node=c:2",
    Some("server")
)]
#[case::sentinel_password_only(
    "redis-sentinel://h?sentinelServiceName=m&sentinelPassword=p",
    "redis-sentinel://h?sentinelServiceName=m",
    None
)]
#[case::sentinel_service(
    "redis-sentinel://h?sentinelServiceName=m",
    "redis-sentinel://h?sentinelServiceName=n",
    Some("server")
)]
fn comparing_two_redis_urls_returns_the_first_differing_part_and_ignores_credentials(
    #[case] url: &str,
    #[case] other: &str,
    #[case] expected: Option<&str>,
) {
    assert_eq!(parsed(url).difference(&parsed(other)), expected);
}

#[test]
fn debug_output_of_credentials_hides_user_and_password() {
    let credentials = parsed("redis://user:s3cret@h").credentials;
    assert_eq!(format!("{credentials:?}"), "Credentials");
}
