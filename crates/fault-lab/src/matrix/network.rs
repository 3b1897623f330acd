//! The way to Redis.

use std::{process::Stdio, time::Duration};

use tee_session_test_support::{Fault, FaultProxy, RedisProcess};
use tokio::{process::Command, time::sleep};

use super::{Expect, Row, one_redis::DURABLE, row};
use crate::stage::{Lab, Outcome};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "each answer 100 ms later",
            "200, slower",
            Expect::Unnoticed,
            |lab| steady(lab, Fault::Delay(Duration::from_millis(100)))
        ),
        row!(
            "each answer 700 ms later",
            "503 in time; not at once, for new connections are made, and tried",
            Expect::Refused("store_unavailable"),
            |lab| steady(lab, Fault::Delay(Duration::from_millis(700)))
        ),
        row!(
            "stalled both ways",
            "503 in time, then at once; found out and replaced",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| steady(lab, Fault::Stall)
        ),
        row!(
            "packets vanish (a black hole on the way)",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            black_hole
        ),
        row!(
            "requests are swallowed (one-way black hole)",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| steady(lab, Fault::SwallowRequests)
        ),
        row!(
            "answers are swallowed (one-way black hole)",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| steady(lab, Fault::SwallowAnswers)
        ),
        row!(
            "cut in the middle of answers, again and again",
            "503 for what was in flight",
            Expect::Refused("store_unavailable"),
            cut
        ),
        row!(
            "reset in the middle of answers, again and again",
            "503 for what was in flight",
            Expect::Refused("store_unavailable"),
            reset
        ),
        row!(
            "answers with flipped bytes",
            "503, or 401 for what the flipped bytes claim; never another's session",
            Expect::Refused("store_unavailable"),
            garbled
        ),
    ]
}

async fn proxied() -> (RedisProcess, FaultProxy, String) {
    let redis = RedisProcess::start_with(&DURABLE).await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    (redis, proxy, url)
}

async fn steady(lab: &Lab, fault: Fault) -> Outcome {
    let (_redis, proxy, url) = proxied().await;
    let mut stage = lab.stage(&url).await;
    proxy.set(fault);
    stage.hold().await;
    proxy.set(Fault::None);
    stage.healed().await;
    stage.end().await
}

/// Redis listens at an address that first is this machine's, and then leads nowhere: nobody answers,
/// nobody refuses.
async fn black_hole(lab: &Lab) -> Outcome {
    const ADDRESS: &str = "10.9.9.1";
    let address = format!("{ADDRESS}/32");
    let appear = ip(&["addr", "add", &address, "dev", "lo"]).await;
    let bound = ["--bind", "127.0.0.1", ADDRESS, "--protected-mode", "no"];
    let bound = [DURABLE.as_slice(), &bound].concat();
    let redis = RedisProcess::start_with(&bound).await;
    let mut stage = lab
        .stage(&format!("redis://{ADDRESS}:{}/0", redis.port()))
        .await;
    let steps = [
        appear,
        ip(&["addr", "del", &address, "dev", "lo"]).await,
        ip(&["route", "add", "blackhole", &address]).await,
    ];
    stage.hold().await;
    let back = [
        ip(&["route", "del", "blackhole", &address]).await,
        ip(&["addr", "add", &address, "dev", "lo"]).await,
    ];
    if !steps.into_iter().chain(back).all(|done| done) {
        stage.impossible("no network namespace of its own, in which addresses can be moved");
    }
    stage.healed().await;
    let outcome = stage.end().await;
    ip(&["addr", "del", &address, "dev", "lo"]).await;
    outcome
}

/// `ip ...`; whether it did it.
async fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

async fn cut(lab: &Lab) -> Outcome {
    repeated(lab, || Fault::CutAfter(fastrand::usize(..2_000))).await
}

async fn reset(lab: &Lab) -> Outcome {
    repeated(lab, || Fault::ResetAfter(fastrand::usize(..2_000))).await
}

async fn repeated(lab: &Lab, fault: impl Fn() -> Fault) -> Outcome {
    let (_redis, proxy, url) = proxied().await;
    let mut stage = lab.stage(&url).await;
    for _ in 0..10 {
        proxy.set(fault());
        sleep(stage.hold / 20).await;
        proxy.set(Fault::None);
        sleep(stage.hold / 20).await;
    }
    stage.healed().await;
    stage.end().await
}

async fn garbled(lab: &Lab) -> Outcome {
    let (_redis, proxy, url) = proxied().await;
    let mut stage = lab.stage(&url).await;
    // A flipped byte can turn any answer into "no such session" or "deleted". What it must never do is
    // to show one's session to another.
    stage.shared().answers_may_lie(true).await;
    for _ in 0..10 {
        proxy.set(Fault::Garble { one_in: 500 });
        sleep(stage.hold / 20).await;
        proxy.set(Fault::None);
        sleep(stage.hold / 20).await;
    }
    stage.shared().answers_may_lie(false).await;
    stage.healed().await;
    stage.end().await
}
