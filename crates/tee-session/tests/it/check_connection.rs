//! `check-config --connect`: whether Redis can be used, told to people and programs.

use std::process::Output;

use rstest::rstest;
use serde_json::Value;
use tee_session_test_support::{RedisCluster, RedisProcess, free_port};

use crate::service::binary;

async fn check(flags: &[&str]) -> Output {
    let arguments = [&["check-config", "--connect"], flags].concat();
    binary().args(arguments).output().await.unwrap()
}

async fn check_as_json(flags: &[&str]) -> (Option<i32>, Value) {
    let output = check(&[&["--json"], flags].concat()).await;
    let told = serde_json::from_slice(&output.stdout);
    let told = told.unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), told)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The verdict of each finding of this check.
fn verdicts(told: &Value, check: &str) -> Vec<String> {
    let findings = told["redis"]["findings"].as_array().unwrap();
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check
        .map(|finding| finding["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_redis_that_can_be_used_ends_it_with_0() {
    let redis = RedisProcess::start_with(&["--appendonly", "yes"]).await;
    let output = check(&["--redis-url", &redis.url()]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        "session_ttl",
        "ok  version      Redis ",
        "ok  permissions  default may do all that is needed",
        "ok  eviction     none (maxmemory-policy noeviction)",
        "Redis can be used.",
    ] {
        assert!(shown.contains(line), "{line} is missing in {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours without a terminal");
    assert!(output.stderr.is_empty(), "no progress without a terminal");
}

#[tokio::test]
async fn warnings_alone_are_no_failure() {
    let redis = RedisProcess::start().await;
    let (code, told) = check_as_json(&["--redis-url", &redis.url()]).await;
    assert_eq!(code, Some(0));
    assert_eq!(told["store"], "redis");
    assert_eq!(told["redis"]["is_usable"], true);
    assert_eq!(verdicts(&told, "persistence"), ["warning"]);
    let ttl = told["settings"].as_array().unwrap().iter();
    let ttl = ttl.clone().find(|setting| setting["key"] == "session_ttl");
    assert_eq!(ttl.unwrap()["value"], "1800");
}

#[rstest]
#[case::wrong_password("--requirepass", "s3cret-of-redis", "login")]
#[case::evicting("--maxmemory-policy", "allkeys-lru", "eviction")]
#[case::full("--maxmemory-policy", "noeviction", "writes")]
#[tokio::test]
async fn what_makes_redis_unusable_ends_it_with_1(
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
    let (code, told) = check_as_json(&flags).await;
    assert_eq!(code, Some(1), "{told:#}");
    assert_eq!(told["redis"]["is_usable"], false);
    let verdicts = verdicts(&told, check_name);
    assert!(verdicts.contains(&"error".to_owned()), "{told:#}");
    let shown = check(&flags).await;
    assert_eq!(shown.status.code(), Some(1));
    let shown = text(&shown.stdout);
    assert!(shown.contains("Redis cannot be used like this."), "{shown}");
    for secret in ["s3cret-wrong", "s3cret-of-redis"] {
        assert!(!format!("{shown}{told}").contains(secret), "{shown} {told}");
    }
}

#[tokio::test]
async fn settings_decide_what_is_needed() {
    let redis = RedisProcess::start().await;
    let without = ["ACL", "SETUSER", "default", "-zadd", "-client|tracking"];
    redis.command(&without).await;
    let url = redis.url();
    let plain = ["--redis-url", &url];
    let subjects = [&plain[..], &["--max-sessions-per-subject", "3"]].concat();
    let cache = ["--near-cache", "true", "--session-touch-interval", "60"];
    let cache = [&plain[..], &cache].concat();
    for (flags, expected) in [(plain.to_vec(), 0), (subjects, 1), (cache, 1)] {
        let (code, told) = check_as_json(&flags).await;
        assert_eq!(code, Some(expected), "{flags:?}: {told:#}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_with_what_to_do() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let output = check(&["--redis-url", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("-> start Redis there, or mend"), "{shown}");
}

#[tokio::test]
async fn bad_settings_end_it_with_2_before_anything_is_asked() {
    let output = check(&["--redis-url", "http://127.0.0.1"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn without_a_redis_url_the_embedded_store_is_named() {
    let output = check(&[]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("the embedded store"));
    let (code, told) = check_as_json(&[]).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        (&told["store"], &told["redis"]),
        (&"memory".into(), &Value::Null)
    );
}

#[tokio::test]
async fn servers_of_a_cluster_are_named() {
    let redis = RedisCluster::start(2, 0).await;
    let output = check(&["--redis-url", &redis.url()]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for number in 0..2 {
        let server = format!("127.0.0.1:{}", redis.node(number).port());
        assert!(shown.contains(&server), "{shown}");
    }
    assert!(
        shown.contains("2 primaries have all of 16384 slots"),
        "{shown}"
    );
}
