//! Fault scenarios of the network between the service and Redis.

use std::{process::Stdio, time::Duration};

use tee_session_test_support::{Fault, FaultProxy, RedisProcess};
use tokio::{process::Command, time::sleep};

use super::{
    expect::Expect,
    one_redis::DURABLE,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "each reply delayed by 100 ms",
            "200, slower",
            Expect::NoFailures,
            |lab| constant_fault(lab, Fault::Delay(Duration::from_millis(100)))
        ),
        row!(
            "each reply delayed by 700 ms",
            "503 within the limit; not immediate, because new connections are opened and tried",
            Expect::Refused("store_unavailable"),
            |lab| constant_fault(lab, Fault::Delay(Duration::from_millis(700)))
        ),
        row!(
            "stalled in both directions",
            "503 within the limit, then immediately; dead connections are detected and replaced",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| constant_fault(lab, Fault::Stall)
        ),
        row!(
            "packets are dropped (black hole)",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            black_hole
        ),
        row!(
            "requests are dropped (one-way black hole)",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| constant_fault(lab, Fault::SwallowRequests)
        ),
        row!(
            "replies are dropped (one-way black hole)",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| constant_fault(lab, Fault::SwallowAnswers)
        ),
        row!(
            "connections closed in the middle of replies, repeatedly",
            "503 for requests in flight",
            Expect::Refused("store_unavailable"),
            cut
        ),
        row!(
            "connections reset in the middle of replies, repeatedly",
            "503 for requests in flight",
            Expect::Refused("store_unavailable"),
            reset
        ),
        row!(
            "corrupted bytes in replies",
            "503, or 401 if a reply is corrupted; never the session of another client",
            Expect::Refused("store_unavailable"),
            corrupted
        ),
    ]
}

/// Starts a Redis server, and a proxy that can inject faults into connections to the server.
/// Returns the server, the proxy, and the Redis URL of the proxy.
async fn proxied_redis() -> (RedisProcess, FaultProxy, String) {
    let redis = RedisProcess::start_with(&DURABLE).await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    (redis, proxy, url)
}

/// Runs a scenario in which the proxy applies `fault` without interruption.
async fn constant_fault(lab: &Lab, fault: Fault) -> Outcome {
    let (_redis, proxy, url) = proxied_redis().await;
    let mut stage = lab.stage(&url).await;
    proxy.set(fault);
    stage.hold().await;
    proxy.set(Fault::None);
    stage.wait_until_recovered().await;
    stage.end().await
}

/// Runs a scenario in which the network drops all packets to Redis without an error. The address of
/// Redis moves from the loopback interface to a black-hole route of the kernel.
async fn black_hole(lab: &Lab) -> Outcome {
    const ADDRESS: &str = "10.9.9.1";
    let address = format!("{ADDRESS}/32");
    let added = ip(&["addr", "add", &address, "dev", "lo"]).await;
    let options = ["--bind", "127.0.0.1", ADDRESS, "--protected-mode", "no"];
    let options = [DURABLE.as_slice(), &options].concat();
    let redis = RedisProcess::start_with(&options).await;
    let mut stage = lab
        .stage(&format!("redis://{ADDRESS}:{}/0", redis.port()))
        .await;
    let steps = [
        added,
        ip(&["addr", "del", &address, "dev", "lo"]).await,
        ip(&["route", "add", "blackhole", &address]).await,
    ];
    stage.hold().await;
    let restored = [
        ip(&["route", "del", "blackhole", &address]).await,
        ip(&["addr", "add", &address, "dev", "lo"]).await,
    ];
    if !steps.into_iter().chain(restored).all(|succeeded| succeeded) {
        stage.impossible("it needs its own network namespace, in which addresses can be changed");
    }
    stage.wait_until_recovered().await;
    let outcome = stage.end().await;
    ip(&["addr", "del", &address, "dev", "lo"]).await;
    outcome
}

/// Runs the program `ip` with `arguments`. Returns `true` if the program succeeded.
async fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

async fn cut(lab: &Lab) -> Outcome {
    repeated_faults(lab, || Fault::CutAfter(fastrand::usize(..2_000))).await
}

async fn reset(lab: &Lab) -> Outcome {
    repeated_faults(lab, || Fault::ResetAfter(fastrand::usize(..2_000))).await
}

/// Runs a scenario in which the proxy applies ten short faults with pauses between them. `fault`
/// returns the next fault.
async fn repeated_faults(lab: &Lab, fault: impl Fn() -> Fault) -> Outcome {
    let (_redis, proxy, url) = proxied_redis().await;
    let mut stage = lab.stage(&url).await;
    for _ in 0..10 {
        proxy.set(fault());
        sleep(stage.hold / 20).await;
        proxy.set(Fault::None);
        sleep(stage.hold / 20).await;
    }
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn corrupted(lab: &Lab) -> Outcome {
    let (_redis, proxy, url) = proxied_redis().await;
    let mut stage = lab.stage(&url).await;
    // A corrupted reply of Redis can report that a session does not exist. Responses that
    // contradict earlier responses are therefore allowed during this fault. Responses with the
    // session of another client are not allowed.
    stage.shared().set_responses_unreliable(true).await;
    for _ in 0..10 {
        proxy.set(Fault::Garble { one_in: 500 });
        sleep(stage.hold / 20).await;
        proxy.set(Fault::None);
        sleep(stage.hold / 20).await;
    }
    stage.shared().set_responses_unreliable(false).await;
    stage.wait_until_recovered().await;
    stage.end().await
}
