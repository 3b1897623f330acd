//! One Redis that goes away, hangs, forgets or starts anew.

use std::time::Duration;

use tee_session_test_support::RedisProcess;
use tokio::time::sleep;

use super::{Expect, Row, row};
use crate::stage::{Lab, Outcome};

/// Persists every write before it is acknowledged: even a killed server keeps it.
pub(super) const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "killed, and started again with its data",
            "503 at once; nothing acknowledged is lost",
            Expect::RefusedAtOnce("store_unavailable"),
            killed
        ),
        row!(
            "absent when the service starts",
            "503, live, not ready; serves when Redis comes",
            Expect::Whatever,
            absent_at_start
        ),
        row!(
            "started again without its data",
            "503, then 401 for the old sessions",
            Expect::RefusedAtOnce("store_unavailable"),
            emptied
        ),
        row!(
            "flushed",
            "401 for the old sessions, no fault",
            Expect::Unnoticed,
            flushed
        ),
        row!(
            "paused (SIGSTOP)",
            "503 in time, then at once; no late answer reaches another request",
            Expect::RefusedAtOnce("store_unavailable"),
            paused
        ),
        row!(
            "cuts every client, again and again",
            "503 for what was in flight",
            Expect::Refused("store_unavailable"),
            clients_killed
        ),
        row!(
            "loading its data",
            "503 until it has loaded",
            Expect::RefusedAtOnce("store_unavailable"),
            loading
        ),
        row!(
            "away for long under full load",
            "503 at once; no memory for the time it takes",
            Expect::RefusedAtOnce("store_unavailable"),
            away_for_long
        ),
    ]
}

async fn killed(lab: &Lab) -> Outcome {
    let mut redis = RedisProcess::start_with(&DURABLE).await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.kill().await;
    stage.hold().await;
    redis.start_again().await;
    stage.healed().await;
    stage.end().await
}

async fn absent_at_start(lab: &Lab) -> Outcome {
    let mut redis = RedisProcess::start().await;
    redis.kill().await;
    let service = lab.start(&redis.url(), &[]).await;
    sleep(lab.hold / 2).await;
    let ready = service
        .request(reqwest::Method::GET, "/health/ready")
        .send()
        .await;
    let was_ready = ready.is_ok_and(|ready| ready.status() != 503);
    redis.start_again().await;
    service.until_ready(Duration::from_secs(10)).await;
    let mut stage = lab.stage_with(service).await;
    if was_ready {
        stage.violated("ready without Redis");
    }
    stage.healed().await;
    stage.end().await
}

async fn emptied(lab: &Lab) -> Outcome {
    let mut redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.kill().await;
    stage.hold().await;
    stage.shared().history.lives_no_longer_known();
    redis.start_again().await;
    stage.healed().await;
    stage.end().await
}

/// Time within which a login on a healthy Redis is acknowledged to its client, on a busy machine too.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(500);

async fn flushed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.shared().history.store_may_forget(true);
    redis.command(&["FLUSHALL"]).await;
    // Sessions that were stored just before may be acknowledged only now.
    sleep(ACKNOWLEDGED_WITHIN).await;
    stage.shared().history.store_may_forget(false);
    stage.healed().await;
    stage.end().await
}

async fn paused(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.pause();
    stage.hold().await;
    redis.resume();
    stage.healed().await;
    stage.end().await
}

async fn clients_killed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    for _ in 0..20 {
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        redis.command(&kill).await;
        sleep(stage.hold / 20).await;
    }
    stage.healed().await;
    stage.end().await
}

async fn loading(lab: &Lab) -> Outcome {
    // Each key takes a millisecond to load, and in between Redis says that it is loading.
    let slow = [
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
        "--enable-debug-command",
        "local",
    ];
    let slow = [DURABLE.as_slice(), &slow].concat();
    let mut redis = RedisProcess::start_with(&slow).await;
    let keys = lab.hold.as_millis().to_string();
    redis
        .command(&["DEBUG", "POPULATE", &keys, "other", "100"])
        .await;
    redis.command(&["BGREWRITEAOF"]).await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.kill().await;
    redis.start_again().await;
    let began = std::time::Instant::now();
    while redis.is_loading().await {
        sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    stage.remark(format!("it was loading for {:.1} s", took.as_secs_f64()));
    if took < lab.hold / 2 {
        stage.violated("it hardly had to load");
    }
    stage.healed().await;
    stage.end().await
}

async fn away_for_long(lab: &Lab) -> Outcome {
    /// In kilobytes; what the allocator keeps of a busy moment is no leak.
    const GROWTH: u64 = 16 * 1_024;
    let mut redis = RedisProcess::start_with(&DURABLE).await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.kill().await;
    sleep(lab.hold).await;
    let early = stage.service.resident();
    sleep(lab.hold * if lab.is_short { 2 } else { 11 }).await;
    let late = stage.service.resident();
    stage.remark(format!(
        "resident {early} kB, and {late} kB at the end of the outage"
    ));
    if late > early + GROWTH {
        stage.violated("it grew");
    }
    redis.start_again().await;
    stage.healed().await;
    stage.end().await
}
