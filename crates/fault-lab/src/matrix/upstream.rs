//! Fault scenarios during calls through the upstream gateway. The site, Redis or the service
//! instance fails. The site counts the requests that it receives for each call.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess};
use tokio::time::{sleep, timeout};

use super::{
    expect::Expect,
    one_redis::DURABLE,
    row::{Row, row},
};
use crate::{
    load::SiteCalls,
    site::{Behaviour, Site},
    stage::{CLIENTS, GATEWAY_FLAGS, Lab, Outcome, READY_WITHIN, STOPPED_WITHIN, Stage},
};

/// Maximum duration of a Redis fault in these scenarios. After a longer fault, the service need not
/// store the cookies of answers that arrived during the fault.
const MAX_AWAY: Duration = Duration::from_secs(3);

/// Timeout for the site to receive a call of each client.
const HELD_WITHIN: Duration = Duration::from_secs(4);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "Redis is killed while the site answers, and restarted",
            "each answer arrives, marked `unsaved`; its cookies are kept when Redis is back",
            Expect::Refused("store_unavailable"),
            redis_killed
        ),
        row!(
            "Redis is paused (SIGSTOP) while the site answers",
            "the same",
            Expect::Refused("store_unavailable"),
            redis_paused
        ),
        row!(
            "replies of Redis are delayed by 700 ms while the site answers",
            "the same",
            Expect::Refused("store_unavailable"),
            redis_slow
        ),
        row!(
            "Redis is turned into a replica (READONLY) while the site answers",
            "the same",
            Expect::Refused("store_unavailable"),
            redis_read_only
        ),
        row!(
            "the memory of Redis is full while the site answers",
            "the same; of several answers of a session, the cookies of the last one are kept",
            Expect::Refused("store_full"),
            redis_full
        ),
        row!(
            "the site refuses connections",
            "502 `upstream_unreachable`, `not_sent`; no other request fails",
            Expect::NoFailures,
            site_refuses
        ),
        row!(
            "the site hangs",
            "504 `upstream_timeout`, `unknown`; no other request fails",
            Expect::NoFailures,
            site_hangs
        ),
        row!(
            "the site closes connections before, during and after requests",
            "502 `upstream_failed`; no call is sent twice; no other request fails",
            Expect::NoFailures,
            site_cuts
        ),
        row!(
            "SIGKILL to one of two instances with calls in flight",
            "no call is sent twice; the other instance serves every session",
            Expect::Any,
            instance_killed
        ),
        row!(
            "SIGTERM with calls in flight",
            "every call gets the answer of the site; exit code 0",
            Expect::NoFailures,
            terminated
        ),
    ]
}

/// Starts an instance with the upstream gateway. Also starts the usual clients, and clients that
/// call the site.
async fn start(lab: &Lab, redis_url: &str, more_flags: &[&str]) -> (Stage, Arc<SiteCalls>) {
    let flags = [GATEWAY_FLAGS.as_slice(), more_flags].concat();
    let service = lab.start(redis_url, &flags).await;
    service.until_ready(READY_WITHIN).await;
    let mut stage = lab.stage_with(service).await;
    #[expect(clippy::expect_used, reason = "the lab reports a scenario that panics")]
    let site = Site::start().expect("a free port");
    let calls = stage.call_site(site).await;
    (stage, calls)
}

async fn durable_redis() -> RedisProcess {
    RedisProcess::start_with(&DURABLE).await
}

/// Makes the site hold back its answers. Returns when the site has received a call of each client.
async fn hold_calls(stage: &mut Stage, calls: &SiteCalls) {
    calls.site.set(Behaviour::Holds);
    // A client that is between two calls first needs time to send its next call.
    let held = async {
        while calls.site.held() < CLIENTS {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(HELD_WITHIN, held).await.is_err() {
        stage.add_violation("the site did not receive the calls of all clients");
    }
}

/// Ends a scenario after its fault has ended, and returns the outcome. Counts a violated
/// expectation if no call got the response `expected`.
async fn end(mut stage: Stage, calls: &SiteCalls, expected: &str) -> Outcome {
    stage.wait_until_recovered().await;
    stage.until_answered(calls).await;
    let mut outcome = stage.end().await;
    let tally = &mut outcome.tally;
    if !tally
        .responses
        .contains_key(&format!("upstream {expected}"))
    {
        tally.add_violation(format!("no call got the response {expected}"));
    }
    outcome
}

const UNSAVED: &str = "200 with cookies unsaved";

async fn redis_killed(lab: &Lab) -> Outcome {
    let mut redis = durable_redis().await;
    let (mut stage, calls) = start(lab, &redis.url(), &[]).await;
    hold_calls(&mut stage, &calls).await;
    redis.kill().await;
    calls.site.set(Behaviour::Answers);
    sleep(lab.hold.min(MAX_AWAY)).await;
    redis.start_again().await;
    end(stage, &calls, UNSAVED).await
}

async fn redis_paused(lab: &Lab) -> Outcome {
    let redis = durable_redis().await;
    let (mut stage, calls) = start(lab, &redis.url(), &[]).await;
    hold_calls(&mut stage, &calls).await;
    redis.pause();
    calls.site.set(Behaviour::Answers);
    sleep(lab.hold.min(MAX_AWAY)).await;
    redis.resume();
    end(stage, &calls, UNSAVED).await
}

async fn redis_slow(lab: &Lab) -> Outcome {
    let redis = durable_redis().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    let (mut stage, calls) = start(lab, &url, &[]).await;
    hold_calls(&mut stage, &calls).await;
    proxy.set(Fault::Delay(Duration::from_millis(700)));
    calls.site.set(Behaviour::Answers);
    sleep(lab.hold.min(MAX_AWAY)).await;
    proxy.set(Fault::None);
    end(stage, &calls, UNSAVED).await
}

async fn redis_read_only(lab: &Lab) -> Outcome {
    let redis = durable_redis().await;
    let (mut stage, calls) = start(lab, &redis.url(), &[]).await;
    hold_calls(&mut stage, &calls).await;
    // No server listens on port 1, so Redis keeps its data.
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    calls.site.set(Behaviour::Answers);
    sleep(lab.hold.min(MAX_AWAY)).await;
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    end(stage, &calls, UNSAVED).await
}

/// Runs a scenario in which the memory of Redis is full. Redis then accepts reads but no writes.
/// The service therefore still sends calls to the site, and the cookies of several answers wait to
/// be stored.
async fn redis_full(lab: &Lab) -> Outcome {
    let redis = durable_redis().await;
    let policy = ["CONFIG", "SET", "maxmemory-policy", "noeviction"];
    redis.command(&policy).await;
    let (mut stage, calls) = start(lab, &redis.url(), &[]).await;
    hold_calls(&mut stage, &calls).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    calls.site.set(Behaviour::Answers);
    sleep(lab.hold.min(MAX_AWAY)).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    end(stage, &calls, UNSAVED).await
}

async fn site_refuses(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (mut stage, calls) = start(lab, &redis.url(), &[]).await;
    calls.site.refuse_connections().await;
    stage.hold().await;
    if calls.site.accept_connections().is_err() {
        stage.add_violation("the site did not start again");
    }
    end(stage, &calls, "502 upstream_unreachable").await
}

async fn site_hangs(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let patience = ["--upstream-response-timeout-ms", "1000"];
    let (stage, calls) = start(lab, &redis.url(), &patience).await;
    calls.site.set(Behaviour::Hangs);
    stage.hold().await;
    calls.site.set(Behaviour::Answers);
    end(stage, &calls, "504 upstream_timeout").await
}

async fn site_cuts(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (stage, calls) = start(lab, &redis.url(), &[]).await;
    calls.site.set(Behaviour::Cuts);
    stage.hold().await;
    calls.site.set(Behaviour::Answers);
    end(stage, &calls, "502 upstream_failed").await
}

async fn instance_killed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (mut stage, calls) = start(lab, &redis.url(), &[]).await;
    let mut other = lab.start(&redis.url(), &GATEWAY_FLAGS).await;
    other.until_ready(READY_WITHIN).await;
    let (lasting, doomed) = (stage.service.base().to_owned(), other.base().to_owned());
    let both = vec![lasting.clone(), doomed.clone()];
    stage.shared().send_only_to(both);
    hold_calls(&mut stage, &calls).await;
    stage.shared().expect_no_response_from(&doomed);
    other.signal(Signal::SIGKILL);
    other.ended(STOPPED_WITHIN).await;
    stage.shared().send_only_to(vec![lasting]);
    calls.site.set(Behaviour::Answers);
    end(stage, &calls, "none").await
}

async fn terminated(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let (mut stage, calls) = start(lab, &redis.url(), &["--shutdown-delay", "1"]).await;
    hold_calls(&mut stage, &calls).await;
    let answered = calls.answered();
    let began = Instant::now();
    stage.service.signal(Signal::SIGTERM);
    // The site answers only after the instance has stopped accepting connections.
    let answer_late = async {
        sleep(Duration::from_millis(1_500)).await;
        calls.site.set(Behaviour::Answers);
    };
    // The clients send no further requests, as if a load balancer no longer sent requests to the
    // instance.
    tokio::join!(stage.stop_load(), answer_late);
    if calls.answered() < answered + CLIENTS as u64 {
        stage.add_violation("a call in flight was not answered");
    }
    let ended = stage.service.ended(STOPPED_WITHIN).await;
    stage.remark(format!(
        "exited after {:.1} s, including 1.5 s in which the site did not answer",
        began.elapsed().as_secs_f64()
    ));
    if ended.code() != Some(0) {
        stage.add_violation("the exit code was not 0");
    }
    stage.end_after_exit().await
}
