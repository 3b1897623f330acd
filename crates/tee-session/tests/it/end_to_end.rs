//! Tests of the whole service, with a real Redis or the embedded store: start, use, Redis outage,
//! recovery and stop.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, eventually};
use tokio::time::sleep;

use crate::service;

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn service_recovers_from_a_redis_outage_and_exits_with_0_on_sigterm() {
    let mut redis =
        RedisProcess::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut service = service::start(&["--redis-url", &redis.url()]).await;
    service.until_ready(RECOVERED_WITHIN).await;
    assert_eq!(service.events("Starting up")[0]["store"], "redis");

    let token = service.log_in("a1b2c3").await;
    assert_eq!(
        service.status(Method::GET, "/v1/session", &token).await,
        StatusCode::OK
    );

    redis.kill().await;
    let started = Instant::now();
    let status = service.status(Method::GET, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    let started = Instant::now();
    assert_eq!(service.json("/health").await["status"], "degraded");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    eventually(RECOVERED_WITHIN, async || {
        !service.events("Redis health check failed").is_empty()
    })
    .await;

    redis.start_again().await;
    service.until_ready(RECOVERED_WITHIN).await;
    assert_eq!(
        service.status(Method::GET, "/v1/session", &token).await,
        StatusCode::OK
    );
    assert_eq!(service.json("/health").await["redis_connected"], true);

    let status = service.status(Method::DELETE, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let status = service.status(Method::GET, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    service.signal(Signal::SIGTERM);
    assert_eq!(service.ended(Duration::from_secs(10)).await.code(), Some(0));
    assert_eq!(service.events("Shutting down").len(), 1);
    assert_eq!(redis.client_count().await, 0);
}

#[tokio::test]
async fn session_with_a_subject_can_be_updated_rotated_listed_and_revoked() {
    let redis = RedisProcess::start().await;
    let flags = [
        "--redis-url",
        &redis.url(),
        "--max-sessions-per-subject",
        "2",
        "--max-sessions-per-subject-action",
        "refuse",
    ];
    let service = service::start(&flags).await;
    service.until_ready(RECOVERED_WITHIN).await;
    let login = json!({
        "cookies": {"SESSIONID": "a1b2c3"},
        "base_url": "https://golf.example",
        "subject": "member-4711",
    });
    let log_in = async || {
        let request = service.request(Method::POST, "/v1/sessions").json(&login);
        request.send().await.unwrap()
    };
    let created: Value = log_in().await.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    let change = service
        .request(Method::PATCH, "/v1/session")
        .bearer_auth(token)
        .header("content-type", "application/merge-patch+json")
        .body(r#"{"cookies": {"SESSIONID": "d4e5f6"}}"#);
    let changed: Value = change.send().await.unwrap().json().await.unwrap();
    assert_eq!(changed["cookies"]["SESSIONID"], "d4e5f6");

    let rotate = service.request(Method::POST, "/v1/session/rotate");
    let rotated = rotate.bearer_auth(token).send().await.unwrap();
    let rotated: Value = rotated.json().await.unwrap();
    let status = service.status(Method::GET, "/v1/session", token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let token = rotated["access_token"].as_str().unwrap();
    let status = service.status(Method::GET, "/v1/session", token).await;
    assert_eq!(status, StatusCode::OK);

    assert_eq!(log_in().await.status(), StatusCode::CREATED);
    assert_eq!(log_in().await.status(), StatusCode::CONFLICT);
    let list = service.json("/v1/sessions?subject=member-4711").await;
    let ids = list["sessions"].as_array().unwrap().iter();
    let ids: Vec<_> = ids.map(|session| &session["session_id"]).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], &rotated["session_id"]);
    let end = service.request(Method::DELETE, "/v1/sessions?subject=member-4711");
    let ended: Value = end.send().await.unwrap().json().await.unwrap();
    assert_eq!(ended, json!({"revoked": 2}));
    let status = service.status(Method::GET, "/v1/session", token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    for (message, field) in [
        ("Session updated", "token_prefix"),
        ("Session rotated", "new_token_prefix"),
        ("Sessions of a subject revoked", "revoked"),
    ] {
        eventually(Duration::from_secs(2), async || {
            !service.events(message).is_empty()
        })
        .await;
        let event = &service.events(message)[0];
        assert!(!event[field].is_null(), "{event}");
    }
}

#[tokio::test]
async fn session_stays_available_after_the_instance_that_created_it_is_killed() {
    let redis = RedisProcess::start().await;
    let mut first = service::start(&["--redis-url", &redis.url()]).await;
    first.until_ready(RECOVERED_WITHIN).await;
    let token = first.log_in("a1b2c3").await;
    first.signal(Signal::SIGKILL);
    first.ended(Duration::from_secs(5)).await;
    let second = service::start(&["--redis-url", &redis.url()]).await;
    second.until_ready(RECOVERED_WITHIN).await;
    assert_eq!(
        second.status(Method::GET, "/v1/session", &token).await,
        StatusCode::OK
    );
}

#[tokio::test]
async fn service_with_default_settings_is_ready_at_once_and_warns_about_its_store_and_its_clients()
{
    let started = Instant::now();
    let mut service = service::start(&[]).await;
    service.until_ready(Duration::from_secs(2)).await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    let token = service.log_in("a1b2c3").await;
    assert_eq!(
        service.status(Method::GET, "/v1/session", &token).await,
        StatusCode::OK
    );
    for warning in [
        "Sessions are kept in the memory of this process",
        "never put a proxy in front of this service",
    ] {
        assert!(service.output().contains(warning), "{warning}");
    }
    service.signal(Signal::SIGINT);
    assert_eq!(service.ended(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test]
async fn service_stops_within_the_shutdown_timeout_while_redis_hangs() {
    let redis = RedisProcess::start().await;
    let mut service =
        service::start(&["--redis-url", &redis.url(), "--shutdown-timeout", "5"]).await;
    service.until_ready(RECOVERED_WITHIN).await;
    redis.pause();
    service.signal(Signal::SIGTERM);
    assert_eq!(service.ended(Duration::from_secs(5)).await.code(), Some(0));
    redis.resume();
}

#[tokio::test]
async fn second_sigterm_stops_the_service_at_once() {
    let mut service = service::start(&["--shutdown-delay", "60"]).await;
    service.signal(Signal::SIGTERM);
    eventually(Duration::from_secs(5), async || {
        !service.events("Shutting down").is_empty()
    })
    .await;
    // A second signal within half a second belongs to the same stop.
    sleep(Duration::from_millis(600)).await;
    service.signal(Signal::SIGTERM);
    assert_eq!(service.ended(Duration::from_secs(2)).await.code(), Some(1));
}

/// Sends several stop signals in quick succession. Ctrl-C, or a process manager that signals a
/// whole process group, may do the same.
#[rstest]
#[case::sigint(Signal::SIGINT)]
#[case::sigquit(Signal::SIGQUIT)]
#[tokio::test]
async fn stop_signals_that_arrive_together_stop_the_service_gracefully(#[case] signal: Signal) {
    let mut service = service::start(&["--shutdown-delay", "1"]).await;
    service.signal(signal);
    service.signal(Signal::SIGTERM);
    eventually(Duration::from_secs(5), async || {
        !service.events("Shutting down").is_empty()
    })
    .await;
    service.signal(signal);
    assert_eq!(service.ended(Duration::from_secs(10)).await.code(), Some(0));
}

/// Sends SIGHUP, SIGUSR1 or SIGUSR2 to a service without a terminal. A process manager also runs
/// the service without a terminal. SIGHUP is a stop signal only on a terminal.
#[rstest]
#[case(Signal::SIGHUP)]
#[case(Signal::SIGUSR1)]
#[case(Signal::SIGUSR2)]
#[tokio::test]
async fn signal_that_is_no_stop_signal_is_logged_and_does_not_stop_the_service(
    #[case] signal: Signal,
) {
    const EVENT: &str = "Signal ignored: SIGTERM stops the service, and changes of \
                         service_clients_file and of the TLS certificate are detected without a \
                         signal";
    let service = service::start(&[]).await;
    service.signal(signal);
    eventually(Duration::from_secs(5), async || {
        let events = service.events(EVENT);
        events
            .iter()
            .any(|event| event["signal"] == signal.as_str())
    })
    .await;
    assert_eq!(service.json("/health/live").await["status"], "live");
}

#[tokio::test]
async fn session_operations_are_logged_with_a_level_a_token_prefix_and_a_request_id() {
    let redis = RedisProcess::start().await;
    let service = service::start(&["--redis-url", &redis.url(), "--log-level", "DEBUG"]).await;
    service.until_ready(RECOVERED_WITHIN).await;
    let token = service.log_in("a1b2c3").await;
    service.status(Method::GET, "/v1/session", &token).await;
    service.status(Method::DELETE, "/v1/session", &token).await;
    service.status(Method::DELETE, "/v1/session", &token).await;
    service.status(Method::GET, "/v1/session", &token).await;
    let expected = [
        ("Session created", "INFO"),
        ("Session accessed", "DEBUG"),
        ("Session deleted", "INFO"),
        ("Session delete attempted (not found)", "INFO"),
        ("Session not found", "WARN"),
    ];
    for (message, level) in expected {
        eventually(Duration::from_secs(2), async || {
            !service.events(message).is_empty()
        })
        .await;
        let event = &service.events(message)[0];
        assert_eq!(event["level"], level, "{event}");
        assert_eq!(event["token_prefix"], token[..8], "{event}");
        assert_eq!(
            event["span"]["request_id"].as_str().unwrap().len(),
            36,
            "{event}"
        );
    }
    assert_eq!(
        service.events("Session created")[0]["base_url"],
        "https://golf.example/members"
    );
    assert_eq!(service.events("Session deleted")[0]["deleted"], true);
    let attempted = &service.events("Session delete attempted (not found)")[0];
    assert_eq!(attempted["deleted"], false);
}
