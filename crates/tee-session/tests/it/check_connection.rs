//! Tests that `tee-session check-config --connect` reports, as text and as JSON, whether Redis can
//! be used.

use std::process::Output;

use rstest::rstest;
use serde_json::Value;
use tee_session_test_support::{RedisCluster, RedisProcess, free_port};

use crate::service::binary;

async fn run_connection_check(flags: &[&str]) -> Output {
    let arguments = [&["check-config", "--connect"], flags].concat();
    binary().args(arguments).output().await.unwrap()
}

async fn run_connection_check_as_json(flags: &[&str]) -> (Option<i32>, Value) {
    let output = run_connection_check(&[&["--json"], flags].concat()).await;
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), report)
}

fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the verdict, such as `warning`, of each finding of the check `check`. `report` is the
/// JSON output of `check-config --connect`.
fn verdicts_of(report: &Value, check: &str) -> Vec<String> {
    let findings = report["redis"]["findings"].as_array().unwrap();
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check
        .map(|finding| finding["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn redis_connection_check_of_a_usable_redis_exits_with_0() {
    let redis = RedisProcess::start_with(&["--appendonly", "yes"]).await;
    let output = run_connection_check(&["--redis-url", &redis.url()]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = to_text(&output.stdout);
    for line in [
        "session_ttl",
        "ok  version      Redis ",
        "ok  permissions  default has all required permissions",
        "ok  eviction     none (maxmemory-policy noeviction)",
        "Redis can be used.",
    ] {
        assert!(shown.contains(line), "{line} is missing in {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours without a terminal");
    assert!(output.stderr.is_empty(), "no progress without a terminal");
}

#[tokio::test]
async fn redis_connection_check_with_warnings_but_without_errors_exits_with_0() {
    let redis = RedisProcess::start().await;
    let (code, report) = run_connection_check_as_json(&["--redis-url", &redis.url()]).await;
    assert_eq!(code, Some(0));
    assert_eq!(report["store"], "redis");
    assert_eq!(report["redis"]["is_usable"], true);
    assert_eq!(verdicts_of(&report, "persistence"), ["warning"]);
    let ttl = report["settings"].as_array().unwrap().iter();
    let ttl = ttl.clone().find(|setting| setting["key"] == "session_ttl");
    assert_eq!(ttl.unwrap()["value"], "1800");
}

#[rstest]
#[case::wrong_password("--requirepass", "s3cret-of-redis", "login")]
#[case::redis_evicts_keys("--maxmemory-policy", "allkeys-lru", "eviction")]
#[case::redis_memory_is_full("--maxmemory-policy", "noeviction", "writes")]
#[tokio::test]
async fn redis_connection_check_of_an_unusable_redis_exits_with_1(
    #[case] option: &str,
    #[case] value: &str,
    #[case] check_name: &str,
) {
    let redis = RedisProcess::start_with(&["--maxmemory", "1", option, value]).await;
    let url = format!("redis://:s3cret-wrong@127.0.0.1:{}", redis.port());
    let url = if check_name == "login" {
        url
    } else {
        redis.url()
    };
    let flags = ["--redis-url", &url];
    let (code, report) = run_connection_check_as_json(&flags).await;
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["redis"]["is_usable"], false);
    let verdicts = verdicts_of(&report, check_name);
    assert!(verdicts.contains(&"error".to_owned()), "{report:#}");
    let shown = run_connection_check(&flags).await;
    assert_eq!(shown.status.code(), Some(1));
    let shown = to_text(&shown.stdout);
    assert!(shown.contains("Redis cannot be used like this."), "{shown}");
    for secret in ["s3cret-wrong", "s3cret-of-redis"] {
        assert!(
            !format!("{shown}{report}").contains(secret),
            "{shown} {report}"
        );
    }
}

#[tokio::test]
async fn connection_check_fails_on_missing_redis_permissions_of_enabled_features_only() {
    let redis = RedisProcess::start().await;
    let without = ["ACL", "SETUSER", "default", "-zadd", "-client|tracking"];
    redis.command(&without).await;
    let url = redis.url();
    let plain = ["--redis-url", &url];
    let subjects = [&plain[..], &["--max-sessions-per-subject", "3"]].concat();
    let cache = ["--near-cache", "true", "--session-touch-interval", "60"];
    let cache = [&plain[..], &cache].concat();
    for (flags, expected) in [(plain.to_vec(), 0), (subjects, 1), (cache, 1)] {
        let (code, report) = run_connection_check_as_json(&flags).await;
        assert_eq!(code, Some(expected), "{flags:?}: {report:#}");
    }
}

#[tokio::test]
async fn redis_connection_check_of_an_unreachable_redis_exits_with_1_and_prints_advice() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let output = run_connection_check(&["--redis-url", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = to_text(&output.stdout);
    assert!(shown.contains("-> start Redis there, or fix"), "{shown}");
}

#[tokio::test]
async fn redis_connection_check_with_invalid_settings_exits_with_2_and_prints_no_report() {
    let output = run_connection_check(&["--redis-url", "http://127.0.0.1"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

/// Checks that the connection check does not pass if the variable with the Redis URL is misspelled.
/// Otherwise, the service would keep its sessions in memory, although the check has exited with 0.
#[rstest]
#[case::no_variable(
    None,
    "set redis_url (TSA_REDIS_URL or TSA_REDIS_URL_FILE), or leave out --connect\n"
)]
#[case::misspelled_variable(
    Some("TSA_REDISURL_FILE"),
    "or leave out --connect. These environment variables are not settings: TSA_REDISURL_FILE\n"
)]
#[case::variable_in_lower_case(
    Some("tsa_redis_url"),
    "or leave out --connect. These environment variables are not settings: tsa_redis_url\n"
)]
#[tokio::test]
async fn redis_connection_check_without_a_redis_url_exits_with_1_and_names_unknown_variables(
    #[case] variable: Option<&str>,
    #[case] end: &str,
) {
    let check = async |flags: &[&str]| {
        let mut command = binary();
        command.args(["check-config", "--connect"]).args(flags);
        command.envs(variable.map(|name| (name, "redis://:s3cret@127.0.0.1")));
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = to_text(&output.stderr);
        assert!(
            error.starts_with("tee-session: redis_url is not set, so there is no Redis to check"),
            "{error}"
        );
        assert!(error.ends_with(end), "{error}");
        let shown = to_text(&output.stdout);
        assert!(!format!("{shown}{error}").contains("s3cret"), "{shown}");
        shown
    };
    assert!(check(&[]).await.contains("session_ttl"));
    let report: Value = serde_json::from_str(&check(&["--json"]).await).unwrap();
    assert_eq!(
        (&report["store"], &report["redis"]),
        (&"memory".into(), &Value::Null)
    );
}

#[tokio::test]
async fn connection_check_of_a_redis_cluster_lists_the_address_of_each_primary() {
    let redis = RedisCluster::start(2, 0).await;
    let output = run_connection_check(&["--redis-url", &redis.url()]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = to_text(&output.stdout);
    for number in 0..2 {
        let server = format!("127.0.0.1:{}", redis.node(number).port());
        assert!(shown.contains(&server), "{shown}");
    }
    assert!(
        shown.contains("2 primaries serve all 16384 hash slots"),
        "{shown}"
    );
}
