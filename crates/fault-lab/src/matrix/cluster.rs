//! A cluster: what harms one primary harms its own sessions, and no others.

use std::time::{Duration, Instant};

use tee_session_test_support::{RedisCluster, eventually};
use tokio::time::sleep;

use super::{Expect, Row, one_redis::DURABLE, row};
use crate::stage::{Lab, Outcome, Stage};

/// Under load somebody asks for a session of a slot on the move within this.
const REDIRECTED_WITHIN: Duration = Duration::from_secs(30);

const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "a primary without a replica is killed, and started again",
            "503 for its sessions; the others are served, new ones are made among them",
            Expect::RefusedAtOnce("store_unavailable"),
            lost
        ),
        row!(
            "a primary without a replica is paused",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            hangs
        ),
        row!(
            "a primary is killed, its replica takes over",
            "the same, until it has",
            Expect::RefusedAtOnce("store_unavailable"),
            taken_over
        ),
        row!(
            "a primary is paused, its replica takes over",
            "the same; the old one is not asked again",
            Expect::RefusedAtOnce("store_unavailable"),
            taken_over_while_paused
        ),
        row!(
            "a replica takes over by order (CLUSTER FAILOVER)",
            "hardly noticed",
            Expect::Whatever,
            ordered
        ),
        row!(
            "slots move, under load (MOVED, ASK)",
            "not noticed",
            Expect::Unnoticed,
            slots_move
        ),
        row!(
            "the whole cluster refuses (cluster-require-full-coverage)",
            "503 until it serves again",
            Expect::RefusedAtOnce("store_unavailable"),
            refuses
        ),
    ]
}

async fn lost(lab: &Lab) -> Outcome {
    let mut cluster = RedisCluster::start_with(3, 0, &DURABLE).await;
    let mut stage = lab.stage(&cluster.url()).await;
    cluster.node_mut(1).kill().await;
    stage.hold().await;
    stage.check_that_most_are_served();
    cluster.node_mut(1).start_again().await;
    stage.healed().await;
    stage.end().await
}

async fn hangs(lab: &Lab) -> Outcome {
    let cluster = RedisCluster::start(3, 0).await;
    let mut stage = lab.stage(&cluster.url()).await;
    cluster.node(1).pause();
    stage.hold().await;
    stage.check_that_most_are_served();
    cluster.node(1).resume();
    stage.healed().await;
    stage.end().await
}

async fn taken_over(lab: &Lab) -> Outcome {
    let mut cluster = RedisCluster::start(3, 1).await;
    let mut stage = lab.stage(&cluster.url()).await;
    stage.replication_may_lose();
    cluster.node_mut(0).kill().await;
    replica_took_over(&mut stage, &cluster).await;
    stage.healed().await;
    stage.end().await
}

async fn taken_over_while_paused(lab: &Lab) -> Outcome {
    let cluster = RedisCluster::start(3, 1).await;
    let mut stage = lab.stage(&cluster.url()).await;
    stage.replication_may_lose();
    cluster.node(0).pause();
    replica_took_over(&mut stage, &cluster).await;
    stage.healed().await;
    stage.replication_has_lost().await;
    cluster.node(0).resume();
    stage.hold().await;
    stage.end().await
}

async fn ordered(lab: &Lab) -> Outcome {
    let cluster = RedisCluster::start(3, 1).await;
    let mut stage = lab.stage(&cluster.url()).await;
    cluster.node(3).command(&["CLUSTER", "FAILOVER"]).await;
    replica_took_over(&mut stage, &cluster).await;
    stage.healed().await;
    stage.end().await
}

async fn replica_took_over(stage: &mut Stage, cluster: &RedisCluster) {
    let began = Instant::now();
    eventually(TAKEN_OVER_WITHIN, async || cluster.is_primary(3).await).await;
    let took = began.elapsed().as_secs_f64();
    stage.remark(format!("the replica took over after {took:.1} s"));
}

/// How often the first primary sent somebody elsewhere.
struct Redirections {
    moved: u64,
    ask: u64,
}

impl Redirections {
    async fn of(cluster: &RedisCluster) -> Self {
        let errors = cluster.node(0).info("errorstats").await;
        let times = |kind: &str| {
            let line = errors.lines().find_map(|line| line.strip_prefix(kind));
            let count = line.and_then(|line| line.trim_start_matches(":count=").parse().ok());
            count.unwrap_or(0)
        };
        Self {
            moved: times("errorstat_MOVED"),
            ask: times("errorstat_ASK"),
        }
    }

    fn of_both_kinds(&self) -> bool {
        self.moved > 0 && self.ask > 0
    }
}

async fn slots_move(lab: &Lab) -> Outcome {
    let mut cluster = RedisCluster::start(3, 0).await;
    let mut stage = lab.stage(&cluster.url()).await;
    let empty = cluster.add_empty().await;
    let admin = cluster.node(0).admin().await;
    let (began, mut moved) = (Instant::now(), 0);
    let mut seen = Redirections::of(&cluster).await;
    for slot in cluster.slots_of(0) {
        let count = ["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()];
        // Who asks for which session is chance: it may take longer until somebody is sent elsewhere.
        let is_over = began.elapsed() > lab.hold * 2 && seen.of_both_kinds();
        if is_over || began.elapsed() > REDIRECTED_WITHIN.max(lab.hold * 2) {
            break;
        }
        // Only those that are asked for.
        if admin.send(&count).await.as_i64() == Some(0) {
            continue;
        }
        for (from, to) in [(0, empty), (empty, 1), (1, 0)] {
            cluster.begin_move(slot, from, to).await;
            cluster.move_keys(slot, from, to).await;
            // Now and then somebody asks for one of its sessions.
            sleep(Duration::from_millis(150)).await;
            cluster.end_move(slot, from, to).await;
            sleep(Duration::from_millis(20)).await;
            moved += 1;
        }
        seen = Redirections::of(&cluster).await;
    }
    stage.remark(format!(
        "{moved} moves; one primary answered {} times MOVED and {} times ASK",
        seen.moved, seen.ask,
    ));
    if !seen.of_both_kinds() {
        stage.violated("nothing was redirected");
    }
    stage.healed().await;
    stage.end().await
}

async fn refuses(lab: &Lab) -> Outcome {
    let mut cluster = RedisCluster::start_with(3, 0, &DURABLE).await;
    for n in 0..3 {
        let set = ["CONFIG", "SET", "cluster-require-full-coverage", "yes"];
        cluster.node(n).command(&set).await;
    }
    let mut stage = lab.stage(&cluster.url()).await;
    cluster.node_mut(2).kill().await;
    stage.hold().await;
    cluster.node_mut(2).start_again().await;
    stage.healed().await;
    stage.end().await
}
