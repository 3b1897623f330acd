//! Tests of a Redis that refuses operations, because a permission or a command is missing.

use std::{net::SocketAddr, time::Duration};

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use tee_session_test_support::{RedisProcess, eventually};

use crate::{
    metrics::scrape,
    test_app::{TestApp, assert_problem, build_valid_body},
};

const WITHIN: Duration = Duration::from_secs(10);

fn start_with_metrics(redis: &RedisProcess) -> TestApp {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    TestApp::builder()
        .with(|settings| settings.metrics_address = Some(free))
        .spawn_on_redis(&redis.url())
}

/// Returns the status code and the status in the body of `/health/ready`.
async fn readiness(app: &TestApp) -> (u16, String) {
    let response = app.get("/health/ready").await;
    let code = response.status().as_u16();
    assert_eq!(response.headers().get("retry-after"), None);
    let body: serde_json::Value = response.json().await.unwrap();
    (code, body["status"].as_str().unwrap_or_default().to_owned())
}

async fn until_readiness_is(app: &TestApp, code: u16, status: &str) {
    eventually(WITHIN, async || {
        readiness(app).await == (code, status.to_owned())
    })
    .await;
}

async fn log_in_as_subject(app: &TestApp) -> reqwest::Response {
    let mut body = build_valid_body();
    body["subject"] = json!("member-4711");
    app.post_session(&body).await
}

#[rstest]
#[case::renamed_command(&["--rename-command", "EVAL", ""], None)]
#[case::missing_permission(&[], Some("-eval"))]
#[tokio::test]
async fn instance_without_permission_for_scripts_is_ready_and_reports_that_redis_is_misconfigured(
    #[case] options: &[&str],
    #[case] rule: Option<&str>,
) {
    let redis = RedisProcess::start_with(&[&["--save", ""], options].concat()).await;
    if let Some(rule) = rule {
        redis.command(&["ACL", "SETUSER", "default", rule]).await;
    }
    let app = start_with_metrics(&redis);
    until_readiness_is(&app, 200, "store_misconfigured").await;
    assert!(
        scrape(&app)
            .await
            .contains("tee_session_store_misconfigured 1\n")
    );
    let response = log_in_as_subject(&app).await;
    assert_eq!(response.headers().get("retry-after"), None);
    assert_problem(response, 503, "store_misconfigured").await;
    // A login without a subject needs no script, and still works.
    app.log_in().await;
    if rule.is_some() {
        let admin = ["ACL", "SETUSER", "default", "+@all"];
        redis.command(&admin).await;
        eventually(WITHIN, async || {
            log_in_as_subject(&app).await.status() == StatusCode::CREATED
        })
        .await;
    }
}

#[rstest]
#[case::keys_of_subjects(&["resetkeys", "~session:*"])]
#[case::command_in_a_script(&["-zadd"])]
#[case::time_in_a_script(&["-time"])]
#[tokio::test]
async fn ready_instance_stays_ready_and_reports_that_redis_refuses_logins_with_a_subject(
    #[case] rules: &[&str],
) {
    let redis = RedisProcess::start().await;
    let user = ["ACL", "SETUSER", "default"];
    redis.command(&[&user, rules].concat()).await;
    let app = start_with_metrics(&redis);
    app.until_ready().await;
    assert_eq!(readiness(&app).await, (200, "ready".to_owned()));
    assert!(
        scrape(&app)
            .await
            .contains("tee_session_store_misconfigured 0\n")
    );
    let response = log_in_as_subject(&app).await;
    assert_eq!(response.headers().get("retry-after"), None);
    let problem = assert_problem(response, 503, "store_misconfigured").await;
    assert!(problem["detail"].as_str().unwrap().contains("operator"));
    assert_eq!(
        readiness(&app).await,
        (200, "store_misconfigured".to_owned())
    );
    assert!(
        scrape(&app)
            .await
            .contains("tee_session_store_misconfigured 1\n")
    );
    app.log_in().await;
}

#[tokio::test]
async fn ready_instance_becomes_unready_if_redis_denies_access_to_all_sessions() {
    let redis = RedisProcess::start().await;
    let app = start_with_metrics(&redis);
    app.until_ready().await;
    let token = app.log_in().await;
    redis
        .command(&["ACL", "SETUSER", "default", "-expire"])
        .await;
    until_readiness_is(&app, 503, "store_misconfigured").await;
    let response = app.get_session(&token).await;
    assert_problem(response, 503, "store_misconfigured").await;
    redis
        .command(&["ACL", "SETUSER", "default", "+expire"])
        .await;
    eventually(WITHIN, async || readiness(&app).await.0 == 200).await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}
