//! Fault scenarios in which a service instance is shut down or killed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use tee_session_test_support::{RedisProcess, ServiceProcess};
use tokio::time::sleep;

use super::{
    expect::Expect,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome};

/// Timeout for a service instance to become ready after its start.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Timeout for a service instance to exit after SIGTERM: the default of `shutdown_timeout` (15 s)
/// plus one second.
const STOPPED_WITHIN: Duration = Duration::from_secs(16);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "SIGTERM to one of two instances, under load",
            "readiness fails first; no request fails; exit code 0",
            Expect::NoFailures,
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
            "exits immediately with code 1",
            Expect::Any,
            terminated_twice
        ),
        row!(
            "SIGKILL to one of two instances",
            "the other instance serves every session immediately",
            Expect::Any,
            killed
        ),
    ]
}

/// Starts two service instances, and clients that send requests to both instances. Returns the
/// first instance with the clients, and the second instance.
async fn two_instances(lab: &Lab, redis: &RedisProcess) -> (crate::stage::Stage, ServiceProcess) {
    let flags = ["--shutdown-delay", "1"];
    let other = lab.start(&redis.url(), &flags).await;
    other.until_ready(READY_WITHIN).await;
    let stage = lab.stage(&redis.url()).await;
    let both = vec![stage.service.base().to_owned(), other.base().to_owned()];
    stage.shared().send_only_to(both);
    sleep(Duration::from_millis(500)).await;
    (stage, other)
}

async fn terminated(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (mut stage, mut other) = two_instances(lab, &redis).await;
    other.signal(Signal::SIGTERM);
    let began = Instant::now();
    // Lets the clients send requests to the instance until its readiness probe fails, as a load
    // balancer does.
    loop {
        let ready = other.request(Method::GET, "/health/ready").send().await;
        if !ready.is_ok_and(|ready| ready.status() == StatusCode::OK) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    stage
        .shared()
        .send_only_to(vec![stage.service.base().to_owned()]);
    if other.ended(STOPPED_WITHIN).await.code() != Some(0) {
        stage.add_violation("the exit code was not 0");
    }
    stage.remark(format!(
        "exited after {:.1} s, including 1 s `shutdown_delay`",
        began.elapsed().as_secs_f64()
    ));
    if stage.shared().tally().last_failure.is_some() {
        stage.add_violation("a request failed");
    }
    stage.wait_until_recovered().await;
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
    // Stops the clients during `shutdown_delay`, as a load balancer does.
    sleep(Duration::from_millis(500)).await;
    stage.stop_load().await;
    let ended = stage.service.ended(STOPPED_WITHIN).await;
    stage.remark(format!(
        "exited after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    if ended.code() != Some(0) {
        stage.add_violation("the exit code was not 0");
    }
    redis.resume();
    stage.end_after_exit().await
}

async fn terminated_twice(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let flags = ["--shutdown-delay", "10"];
    let service = lab.start(&redis.url(), &flags).await;
    service.until_ready(READY_WITHIN).await;
    let mut stage = lab.stage_with(service).await;
    stage.service.signal(Signal::SIGTERM);
    // A second signal within half a second belongs to the same stop.
    sleep(Duration::from_millis(600)).await;
    stage.stop_load().await;
    let began = Instant::now();
    stage.service.signal(Signal::SIGTERM);
    let ended = stage.service.ended(STOPPED_WITHIN).await;
    stage.remark(format!(
        "exited after {:.2} s",
        began.elapsed().as_secs_f64()
    ));
    if ended.code() != Some(1) || began.elapsed() > Duration::from_secs(1) {
        stage.add_violation("the service did not exit immediately with code 1");
    }
    stage.end_after_exit().await
}

async fn killed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (mut stage, mut other) = two_instances(lab, &redis).await;
    stage.shared().expect_no_response_from(other.base());
    other.signal(Signal::SIGKILL);
    other.ended(STOPPED_WITHIN).await;
    stage
        .shared()
        .send_only_to(vec![stage.service.base().to_owned()]);
    stage.wait_until_recovered().await;
    stage.end().await
}
