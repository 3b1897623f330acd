//! Tests that the log and `check-config --connect` state in the same words why Redis is not usable.

use std::time::Duration;

use rstest::rstest;
use serde_json::Value;
use tee_session_test_support::{RedisProcess, RedisSentinels, eventually, free_port};

use crate::service::{self, binary};

const WITHIN: Duration = Duration::from_secs(15);
const FAILED: &str = "Redis connection attempt failed: trying again";

/// Returns the findings with the verdict `error` of `check-config --connect`.
async fn errors_of_the_check(url: &str) -> Vec<(String, String)> {
    let arguments = ["check-config", "--connect", "--json", "--redis-url", url];
    let output = binary().args(arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["redis"]["findings"].as_array().unwrap();
    let errors = findings
        .iter()
        .filter(|finding| finding["verdict"] == "error");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    errors
        .map(|finding| (text(&finding["what"]), text(&finding["advice"])))
        .collect()
}

#[rstest]
#[case::cluster_url_for_a_single_server(
    "redis-cluster://127.0.0.1:PORT",
    "127.0.0.1:PORT is not a server of a cluster"
)]
#[case::sentinel_url_for_a_single_server(
    "redis-sentinel://127.0.0.1:PORT?sentinelServiceName=x",
    "127.0.0.1:PORT is not a sentinel"
)]
#[case::database_out_of_range(
    "redis://127.0.0.1:PORT/16",
    "127.0.0.1:PORT does not have the database in the Redis URL"
)]
#[case::unknown_host(
    "redis://no-such-host.invalid:PORT",
    "the host name in no-such-host.invalid:PORT cannot be resolved: "
)]
#[case::unexpected_password(
    "redis://user:s3cret@127.0.0.1:PORT",
    "127.0.0.1:PORT refuses the login of user: WRONGPASS"
)]
#[tokio::test]
async fn log_and_connection_check_give_the_same_reason_for_an_unusable_redis(
    #[case] url: &str,
    #[case] expected: &str,
) {
    let redis = RedisProcess::start().await;
    let port = redis.port().to_string();
    let (url, expected) = (url.replace("PORT", &port), expected.replace("PORT", &port));
    let service = service::start(&["--redis-url", &url]).await;
    eventually(WITHIN, async || !service.events(FAILED).is_empty()).await;
    let event = &service.events(FAILED)[0];
    let reason = event["reason"].as_str().unwrap();
    assert!(reason.contains(&expected), "{event}");
    let errors = errors_of_the_check(&url).await;
    let same = errors
        .iter()
        .find(|(what, _)| reason.ends_with(what.as_str()));
    assert!(same.is_some(), "{reason} is not in {errors:?}");
    if reason == same.unwrap().0 {
        assert_eq!(event["advice"], same.unwrap().1.as_str());
    }
    assert!(!service.output().contains("s3cret"), "{}", service.output());
}

/// Starts the service with the server at `port`, and returns the logged reason why this server
/// cannot be used.
async fn reason_for_server_at(port: u16) -> String {
    let url = format!("redis://127.0.0.1:{port}");
    let service = service::start(&["--redis-url", &url]).await;
    eventually(WITHIN, async || !service.events(FAILED).is_empty()).await;
    service.events(FAILED)[0]["reason"].to_string()
}

#[tokio::test]
async fn log_states_that_the_redis_server_is_a_replica() {
    let replica = RedisProcess::start().await;
    let primary = free_port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &primary]).await;
    let reason = reason_for_server_at(replica.port()).await;
    assert!(
        reason.contains("is a replica, which accepts no writes"),
        "{reason}"
    );
}

#[tokio::test]
async fn log_reports_that_a_server_address_belongs_to_a_sentinel() {
    let redis = RedisSentinels::start().await;
    let reason = reason_for_server_at(redis.sentinel(0).port()).await;
    assert!(reason.contains("it stores no data"), "{reason}");
}

/// Connects to a server that accepts connections and never replies. The log must name the step of
/// connecting that timed out.
#[tokio::test]
async fn log_names_the_step_of_connecting_that_timed_out() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let service = service::start(&["--redis-url", &url]).await;
    eventually(WITHIN, async || !service.events(FAILED).is_empty()).await;
    let reason = service.events(FAILED)[0]["reason"].to_string();
    assert!(
        reason.contains("accepts connections, but does not reply"),
        "{reason}"
    );
}

#[tokio::test]
async fn log_states_that_redis_refused_the_connection() {
    let url = format!("redis-cluster://127.0.0.1:{}", free_port());
    let service = service::start(&["--redis-url", &url]).await;
    eventually(WITHIN, async || !service.events(FAILED).is_empty()).await;
    let event = &service.events(FAILED)[0];
    let reason = event["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be reached: "), "{event}");
    assert!(
        event["advice"]
            .as_str()
            .unwrap()
            .starts_with("start Redis there"),
        "{event}"
    );
}
