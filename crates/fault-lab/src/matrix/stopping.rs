//! Instances that stop, well or badly.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use tee_session_test_support::{RedisProcess, ServiceProcess};
use tokio::time::sleep;

use super::{Expect, Row, row};
use crate::stage::{Lab, Outcome};

const READY_WITHIN: Duration = Duration::from_secs(10);

/// `shutdown_timeout`, and a second for closing.
const STOPPED_WITHIN: Duration = Duration::from_secs(16);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "SIGTERM to one of two instances, under load",
            "not ready first; no request fails; exit code 0",
            Expect::Unnoticed,
            terminated
        ),
        row!(
            "SIGTERM while Redis is paused",
            "exit code 0 within `shutdown_timeout`",
            Expect::Refused("store_unavailable"),
            terminated_in_outage
        ),
        row!(
            "SIGTERM twice",
            "ends at once, exit code 1",
            Expect::Whatever,
            terminated_twice
        ),
        row!(
            "SIGKILL to one of two instances",
            "the other serves every session at once",
            Expect::Whatever,
            killed
        ),
    ]
}

/// Two instances under load, and a balancer that asks both.
async fn two(lab: &Lab, redis: &RedisProcess) -> (crate::stage::Stage, ServiceProcess) {
    let flags = ["--shutdown-delay", "1"];
    let other = lab.start(&redis.url(), &flags).await;
    other.until_ready(READY_WITHIN).await;
    let stage = lab.stage(&redis.url()).await;
    let both = vec![stage.service.base().to_owned(), other.base().to_owned()];
    stage.shared().ask_only(both);
    sleep(Duration::from_millis(500)).await;
    (stage, other)
}

async fn terminated(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (mut stage, mut other) = two(lab, &redis).await;
    other.signal(Signal::SIGTERM);
    let began = Instant::now();
    // As a balancer does: it stays until the instance says that it is not ready.
    loop {
        let ready = other.request(Method::GET, "/health/ready").send().await;
        if !ready.is_ok_and(|ready| ready.status() == StatusCode::OK) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    stage
        .shared()
        .ask_only(vec![stage.service.base().to_owned()]);
    if other.ended(STOPPED_WITHIN).await.code() != Some(0) {
        stage.violated("another exit code");
    }
    stage.remark(format!(
        "it ended after {:.1} s, one of them waiting for balancers",
        began.elapsed().as_secs_f64()
    ));
    if stage.shared().tally().last_failure.is_some() {
        stage.violated("a request failed");
    }
    stage.healed().await;
    stage.end().await
}

async fn terminated_in_outage(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let service = lab.start(&redis.url(), &["--shutdown-delay", "1"]).await;
    service.until_ready(READY_WITHIN).await;
    let mut stage = lab.stage_with(service).await;
    redis.pause();
    stage.hold().await;
    let began = Instant::now();
    stage.service.signal(Signal::SIGTERM);
    // Balancers leave it within `shutdown_delay`.
    sleep(Duration::from_millis(500)).await;
    stage.leave().await;
    let ended = stage.service.ended(STOPPED_WITHIN).await;
    stage.remark(format!(
        "it ended after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    if ended.code() != Some(0) {
        stage.violated("another exit code");
    }
    redis.resume();
    stage.end_of_a_stopped_one().await
}

async fn terminated_twice(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let flags = ["--shutdown-delay", "10"];
    let service = lab.start(&redis.url(), &flags).await;
    service.until_ready(READY_WITHIN).await;
    let mut stage = lab.stage_with(service).await;
    stage.service.signal(Signal::SIGTERM);
    sleep(Duration::from_millis(300)).await;
    stage.leave().await;
    let began = Instant::now();
    stage.service.signal(Signal::SIGTERM);
    let ended = stage.service.ended(STOPPED_WITHIN).await;
    stage.remark(format!(
        "it ended after {:.2} s",
        began.elapsed().as_secs_f64()
    ));
    if ended.code() != Some(1) || began.elapsed() > Duration::from_secs(1) {
        stage.violated("it did not end at once");
    }
    stage.end_of_a_stopped_one().await
}

async fn killed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (mut stage, mut other) = two(lab, &redis).await;
    other.signal(Signal::SIGKILL);
    other.ended(STOPPED_WITHIN).await;
    stage
        .shared()
        .ask_only(vec![stage.service.base().to_owned()]);
    stage.healed().await;
    // What was in flight there has no answer, one request of each client: nobody can give it.
    stage.forgive("a request without an answer", 16);
    stage.end().await
}
