//! Fault scenarios with a Redis Cluster. A fault of one primary must affect only the sessions on
//! that primary.

use std::{
    iter,
    time::{Duration, Instant},
};

use anyhow::Context;
use reqwest::{Method, StatusCode, header::LOCATION};
use serde_json::{Value, json};
use tee_session_test_support::{RedisCluster, eventually};
use tokio::time::sleep;

use super::{
    expect::Expect,
    one_redis::DURABLE,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome, Stage};

/// Timeout for a failover: if a primary has failed, its replica must become the primary within this
/// time.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "a primary without a replica is killed and restarted",
            "503 for its sessions; others are served, and new ones are created on other primaries",
            Expect::RefusedAtOnce("store_unavailable"),
            killed
        ),
        row!(
            "a primary without a replica is paused",
            "the same",
            Expect::RefusedAtOnce("store_unavailable"),
            paused
        ),
        row!(
            "a primary is killed, and its replica takes over",
            "the same, until the replica has taken over",
            Expect::RefusedAtOnce("store_unavailable"),
            taken_over
        ),
        row!(
            "a primary is paused, and its replica takes over",
            "the same; the old primary gets no more requests",
            Expect::RefusedAtOnce("store_unavailable"),
            taken_over_while_paused
        ),
        row!(
            "manual failover to a replica (CLUSTER FAILOVER)",
            "few or no failed requests",
            Expect::Any,
            manual_failover
        ),
        row!(
            "hash slots move under load (MOVED, ASK)",
            "no failed requests",
            Expect::NoFailures,
            slots_move
        ),
        row!(
            "the whole cluster rejects commands (cluster-require-full-coverage)",
            "503 until it serves again",
            Expect::RefusedAtOnce("store_unavailable"),
            refuses
        ),
    ]
}

async fn killed(lab: &Lab) -> Outcome {
    let mut cluster = RedisCluster::start_with(3, 0, &DURABLE).await;
    let mut stage = lab.stage(&cluster.url()).await;
    cluster.node_mut(1).kill().await;
    stage.hold().await;
    stage.check_that_other_partitions_work();
    cluster.node_mut(1).start_again().await;
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn paused(lab: &Lab) -> Outcome {
    let cluster = RedisCluster::start(3, 0).await;
    let mut stage = lab.stage(&cluster.url()).await;
    cluster.node(1).pause();
    stage.hold().await;
    stage.check_that_other_partitions_work();
    cluster.node(1).resume();
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn taken_over(lab: &Lab) -> Outcome {
    let mut cluster = RedisCluster::start(3, 1).await;
    let mut stage = lab.stage(&cluster.url()).await;
    stage.allow_replication_loss();
    cluster.node_mut(0).kill().await;
    wait_for_takeover(&mut stage, &cluster).await;
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn taken_over_while_paused(lab: &Lab) -> Outcome {
    let cluster = RedisCluster::start(3, 1).await;
    let mut stage = lab.stage(&cluster.url()).await;
    stage.allow_replication_loss();
    cluster.node(0).pause();
    wait_for_takeover(&mut stage, &cluster).await;
    stage.wait_until_recovered().await;
    stage.end_replication_loss().await;
    cluster.node(0).resume();
    stage.hold().await;
    stage.end().await
}

async fn manual_failover(lab: &Lab) -> Outcome {
    let cluster = RedisCluster::start(3, 1).await;
    let mut stage = lab.stage(&cluster.url()).await;
    cluster.node(3).command(&["CLUSTER", "FAILOVER"]).await;
    wait_for_takeover(&mut stage, &cluster).await;
    stage.wait_until_recovered().await;
    stage.end().await
}

/// Waits until node 3, the replica of the first primary, has become a primary. Adds the duration to
/// the result table as a remark.
async fn wait_for_takeover(stage: &mut Stage, cluster: &RedisCluster) {
    let began = Instant::now();
    eventually(TAKEN_OVER_WITHIN, async || cluster.is_primary(3).await).await;
    let took = began.elapsed().as_secs_f64();
    stage.remark(format!("the replica took over after {took:.1} s"));
}

/// Numbers of MOVED and ASK redirections that the first primary has sent.
struct Redirections {
    moved: u64,
    ask: u64,
}

impl Redirections {
    async fn of(cluster: &RedisCluster) -> Self {
        let errors = cluster.node(0).info("errorstats").await;
        let count_of = |kind: &str| {
            let line = errors.lines().find_map(|line| line.strip_prefix(kind));
            let count = line.and_then(|line| line.trim_start_matches(":count=").parse().ok());
            count.unwrap_or(0)
        };
        Self {
            moved: count_of("errorstat_MOVED"),
            ask: count_of("errorstat_ASK"),
        }
    }

    /// Returns `true` if there was at least one MOVED and at least one ASK redirection.
    fn has_both_kinds(&self) -> bool {
        self.moved > 0 && self.ask > 0
    }
}

/// A session whose hash slot belongs to the first primary. The scenario reads this session while
/// its hash slot moves, because the clients seldom use a session in a moving hash slot.
struct SlotSession {
    token: String,
    slot: usize,
}

impl SlotSession {
    async fn create(stage: &Stage, cluster: &RedisCluster) -> anyhow::Result<Self> {
        let body = json!({"cookies": {"SESSIONID": "slot"}, "base_url": "https://golf.example"});
        loop {
            let request = stage.service.request(Method::POST, "/v1/sessions");
            let response = request.json(&body).send().await?.error_for_status()?;
            let location = response.headers().get(LOCATION).context("no Location")?;
            let (_, id) = location.to_str()?.rsplit_once('/').context("no id")?;
            let slot = RedisCluster::slot_of(&format!("session:{id}"));
            let body: Value = response.json().await?;
            if cluster.slots_of(0).contains(&slot) {
                let token = body["access_token"]
                    .as_str()
                    .context("no token")?
                    .to_owned();
                return Ok(Self { token, slot });
            }
        }
    }

    /// Reads the session. Counts a violated expectation if the service does not return the session.
    async fn read(&self, stage: &mut Stage) {
        let path = "/v1/session";
        let status = stage.service.status(Method::GET, path, &self.token).await;
        if status != StatusCode::OK {
            stage.add_violation("a session in a moving hash slot was not found");
        }
    }
}

async fn slots_move(lab: &Lab) -> Outcome {
    let mut cluster = RedisCluster::start(3, 0).await;
    let mut stage = lab.stage(&cluster.url()).await;
    let empty = cluster.add_empty().await;
    let admin = cluster.node(0).admin().await;
    let session = match SlotSession::create(&stage, &cluster).await {
        Ok(session) => session,
        Err(error) => {
            stage.add_violation(error.to_string());
            return stage.end().await;
        }
    };
    let (began, mut moved) = (Instant::now(), 0);
    for slot in iter::once(session.slot).chain(cluster.slots_of(0)) {
        if began.elapsed() > lab.hold * 2 {
            break;
        }
        // Skips hash slots without keys, because clients send no requests for such hash slots.
        let count = ["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()];
        if admin.send(&count).await.as_i64() == Some(0) {
            continue;
        }
        for (from, to) in [(0, empty), (empty, 1), (1, 0)] {
            cluster.begin_move(slot, from, to).await;
            cluster.move_keys(slot, from, to).await;
            session.read(&mut stage).await;
            // Gives clients time to send requests for sessions in the moving hash slot.
            sleep(Duration::from_millis(150)).await;
            cluster.end_move(slot, from, to).await;
            session.read(&mut stage).await;
            sleep(Duration::from_millis(20)).await;
            moved += 1;
        }
    }
    let seen = Redirections::of(&cluster).await;
    stage.remark(format!(
        "{moved} moves; one primary replied MOVED {} times and ASK {} times",
        seen.moved, seen.ask,
    ));
    if !seen.has_both_kinds() {
        stage.add_violation("there were no MOVED or no ASK redirections");
    }
    stage.wait_until_recovered().await;
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
    stage.wait_until_recovered().await;
    stage.end().await
}
