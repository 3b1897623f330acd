//! Behind Sentinel.

use std::time::{Duration, Instant};

use tee_session_test_support::{RedisSentinels, eventually};

use super::{Expect, Row, row};
use crate::stage::{Lab, Outcome, Stage};

/// A second until the sentinels call a server dead, and some to agree on another.
const FAILED_OVER_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "handed over (SENTINEL FAILOVER)",
            "503 until the next primary is there",
            Expect::RefusedAtOnce("store_unavailable"),
            handed_over
        ),
        row!(
            "the primary is killed, and comes back as a replica",
            "503 until the next primary is there",
            Expect::RefusedAtOnce("store_unavailable"),
            killed
        ),
        row!(
            "the primary is paused, and comes back believing in itself",
            "503 until the next primary is there; the old one is not asked again",
            Expect::RefusedAtOnce("store_unavailable"),
            paused
        ),
        row!(
            "the replicas lose their primary, which is then killed",
            "what the replicas never got is lost, and is counted here",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| replicas_behind(lab, &[])
        ),
        row!(
            "the same with min-replicas-to-write 1, min-replicas-max-lag 2",
            "503 as soon as no replica is in step: nothing is lost",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| replicas_behind(
                lab,
                &[
                    "--min-replicas-to-write",
                    "1",
                    "--min-replicas-max-lag",
                    "2"
                ]
            )
        ),
        row!(
            "one sentinel hangs while the primary is killed",
            "the same, as soon",
            Expect::RefusedAtOnce("store_unavailable"),
            sentinel_hangs
        ),
    ]
}

/// A failover may lose what was acknowledged in the last moment: replication is asynchronous. What
/// it lost is counted, and is no violation of the service.
async fn failed_over(stage: &mut Stage, redis: &RedisSentinels) {
    let began = Instant::now();
    eventually(FAILED_OVER_WITHIN, async || redis.primary().await != 0).await;
    let took = began.elapsed().as_secs_f64();
    stage.remark(format!(
        "the sentinels named the next primary after {took:.1} s"
    ));
}

async fn handed_over(lab: &Lab) -> Outcome {
    let redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.replication_may_lose();
    redis.fail_over().await;
    failed_over(&mut stage, &redis).await;
    stage.healed().await;
    stage.end().await
}

async fn killed(lab: &Lab) -> Outcome {
    let mut redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.replication_may_lose();
    redis.server_mut(0).kill().await;
    failed_over(&mut stage, &redis).await;
    stage.healed().await;
    stage.replication_has_lost().await;
    redis.server_mut(0).start_again().await;
    stage.hold().await;
    stage.end().await
}

async fn paused(lab: &Lab) -> Outcome {
    let redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.replication_may_lose();
    redis.server(0).pause();
    failed_over(&mut stage, &redis).await;
    stage.healed().await;
    stage.replication_has_lost().await;
    redis.server(0).resume();
    stage.hold().await;
    stage.end().await
}

async fn replicas_behind(lab: &Lab, options: &[&str]) -> Outcome {
    let mut redis = RedisSentinels::start_with(2, &[&["--save", ""], options].concat()).await;
    let mut stage = lab.stage(&redis.url()).await;
    if options.is_empty() {
        stage.replication_may_lose();
    }
    for n in [1, 2] {
        let set = ["CONFIG", "SET", "masterauth", "none-that-fits"];
        redis.server(n).command(&set).await;
    }
    redis
        .server(0)
        .command(&["CLIENT", "KILL", "TYPE", "replica"])
        .await;
    stage.hold().await;
    redis.server_mut(0).kill().await;
    for n in [1, 2] {
        redis
            .server(n)
            .command(&["CONFIG", "SET", "masterauth", ""])
            .await;
    }
    failed_over(&mut stage, &redis).await;
    stage.healed().await;
    stage.end().await
}

async fn sentinel_hangs(lab: &Lab) -> Outcome {
    let mut redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.replication_may_lose();
    redis.sentinel(1).pause();
    redis.server_mut(0).kill().await;
    failed_over(&mut stage, &redis).await;
    stage.healed().await;
    redis.sentinel(1).resume();
    stage.end().await
}
