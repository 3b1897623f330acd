//! Fault scenarios with Redis Sentinel: a primary, two replicas and three sentinels.

use std::time::{Duration, Instant};

use tee_session_test_support::{RedisSentinels, eventually};

use super::{
    expect::Expect,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome, Stage};

/// Timeout for a failover. The sentinels consider a server down after 1.5 seconds without a reply,
/// and then need some time to elect a new primary.
const FAILED_OVER_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "manual failover (SENTINEL FAILOVER)",
            "503 until the new primary is up",
            Expect::RefusedAtOnce("store_unavailable"),
            manual_failover
        ),
        row!(
            "the primary is killed and returns as a replica",
            "503 until the new primary is up",
            Expect::RefusedAtOnce("store_unavailable"),
            killed
        ),
        row!(
            "the primary is paused and still considers itself primary when resumed",
            "503 until the new primary is up; the old primary gets no more requests",
            Expect::RefusedAtOnce("store_unavailable"),
            paused
        ),
        row!(
            "the replicas lose the connection to their primary, which is then killed",
            "writes that were not replicated are lost, and are counted here",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| disconnected_replicas(lab, &[])
        ),
        row!(
            "the same with min-replicas-to-write 1, min-replicas-max-lag 2",
            "503 as soon as no replica is in sync; nothing is lost",
            Expect::RefusedAtOnce("store_unavailable"),
            |lab| disconnected_replicas(
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
            "503 until the new primary is up, no later than with all sentinels",
            Expect::RefusedAtOnce("store_unavailable"),
            sentinel_hangs
        ),
    ]
}

/// Waits until the sentinels name a new primary. Adds the duration to the result table as a remark.
async fn wait_for_failover(stage: &mut Stage, redis: &RedisSentinels) {
    let began = Instant::now();
    eventually(FAILED_OVER_WITHIN, async || redis.primary().await != 0).await;
    let took = began.elapsed().as_secs_f64();
    stage.remark(format!(
        "the sentinels named the new primary after {took:.1} s"
    ));
}

async fn manual_failover(lab: &Lab) -> Outcome {
    let redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.allow_replication_loss();
    redis.fail_over().await;
    wait_for_failover(&mut stage, &redis).await;
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn killed(lab: &Lab) -> Outcome {
    let mut redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.allow_replication_loss();
    redis.server_mut(0).kill().await;
    wait_for_failover(&mut stage, &redis).await;
    stage.wait_until_recovered().await;
    stage.end_replication_loss().await;
    redis.server_mut(0).start_again().await;
    stage.hold().await;
    stage.end().await
}

async fn paused(lab: &Lab) -> Outcome {
    let redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.allow_replication_loss();
    redis.server(0).pause();
    wait_for_failover(&mut stage, &redis).await;
    stage.wait_until_recovered().await;
    stage.end_replication_loss().await;
    redis.server(0).resume();
    stage.hold().await;
    stage.end().await
}

/// Runs a scenario that disconnects the replicas from the primary, then kills the primary.
/// `options` are additional options of all Redis servers.
async fn disconnected_replicas(lab: &Lab, options: &[&str]) -> Outcome {
    let mut redis = RedisSentinels::start_with(2, &[&["--save", ""], options].concat()).await;
    let mut stage = lab.stage(&redis.url()).await;
    if options.is_empty() {
        stage.allow_replication_loss();
    }
    for n in [1, 2] {
        // A wrong password prevents the replica from connecting to the primary again.
        let set = ["CONFIG", "SET", "masterauth", "wrong-password"];
        redis.server(n).command(&set).await;
    }
    {
        // Before the connections to the replicas are closed, waits until the replicas have received
        // all writes. Writes that are not yet sent when a connection closes would be lost with
        // every setting.
        let _paused = stage.shared().pause().await;
        let primary = redis.server(0);
        primary.command(&["WAIT", "2", "5000"]).await;
        primary
            .command(&["CLIENT", "KILL", "TYPE", "replica"])
            .await;
    }
    stage.hold().await;
    redis.server_mut(0).kill().await;
    for n in [1, 2] {
        redis
            .server(n)
            .command(&["CONFIG", "SET", "masterauth", ""])
            .await;
    }
    wait_for_failover(&mut stage, &redis).await;
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn sentinel_hangs(lab: &Lab) -> Outcome {
    let mut redis = RedisSentinels::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.allow_replication_loss();
    redis.sentinel(1).pause();
    redis.server_mut(0).kill().await;
    wait_for_failover(&mut stage, &redis).await;
    stage.wait_until_recovered().await;
    redis.sentinel(1).resume();
    stage.end().await
}
