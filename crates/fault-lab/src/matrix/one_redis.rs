//! Fault scenarios with a single Redis server: outages, pauses, data loss and restarts.

use std::time::Duration;

use tee_session_test_support::RedisProcess;
use tokio::time::sleep;

use super::{
    expect::Expect,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome};

/// Redis options that persist each write before Redis acknowledges the write. A killed server
/// therefore loses no acknowledged write.
pub(super) const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "killed and restarted with its data",
            "503 immediately; no acknowledged write is lost",
            Expect::RefusedAtOnce("store_unavailable"),
            killed
        ),
        row!(
            "down when the service starts",
            "503, live but not ready; serves as soon as Redis is up",
            Expect::Any,
            absent_at_start
        ),
        row!(
            "restarted without its data",
            "503, then 401 for the old sessions",
            Expect::RefusedAtOnce("store_unavailable"),
            emptied
        ),
        row!(
            "flushed (FLUSHALL)",
            "401 for the old sessions; no failures",
            Expect::NoFailures,
            flushed
        ),
        row!(
            "paused (SIGSTOP)",
            "503 within the limit, then immediately; no late reply reaches another request",
            Expect::RefusedAtOnce("store_unavailable"),
            paused
        ),
        row!(
            "closes all client connections repeatedly (CLIENT KILL)",
            "503 for requests in flight",
            Expect::Refused("store_unavailable"),
            clients_killed
        ),
        row!(
            "loading its data after a restart",
            "503 until loading is complete",
            Expect::RefusedAtOnce("store_unavailable"),
            loading
        ),
        row!(
            "down for a long time under full load",
            "503 immediately; memory does not grow",
            Expect::RefusedAtOnce("store_unavailable"),
            long_outage
        ),
    ]
}

async fn killed(lab: &Lab) -> Outcome {
    let mut redis = RedisProcess::start_with(&DURABLE).await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.kill().await;
    stage.hold().await;
    redis.start_again().await;
    stage.wait_until_recovered().await;
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
        stage.add_violation("the service was ready without Redis");
    }
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn emptied(lab: &Lab) -> Outcome {
    let mut redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.kill().await;
    stage.hold().await;
    stage.shared().history.data_may_be_lost();
    redis.start_again().await;
    stage.wait_until_recovered().await;
    stage.end().await
}

/// Maximum time from the write of a new session in a healthy Redis until the client has received
/// the response.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(500);

async fn flushed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    stage.shared().history.set_data_loss_possible(true);
    redis.command(&["FLUSHALL"]).await;
    // Waits until clients have received the responses for sessions that Redis stored just before
    // FLUSHALL. Such sessions are acknowledged to the client, but deleted.
    sleep(ACKNOWLEDGED_WITHIN).await;
    stage.shared().history.set_data_loss_possible(false);
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn paused(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.pause();
    stage.hold().await;
    redis.resume();
    stage.wait_until_recovered().await;
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
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn loading(lab: &Lab) -> Outcome {
    // These options slow Redis down to one millisecond for each loaded key. During loading, Redis
    // replies to commands with the error LOADING.
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
    stage.remark(format!("loading took {:.1} s", took.as_secs_f64()));
    if took < lab.hold / 2 {
        stage.add_violation("loading was too short to test anything");
    }
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn long_outage(lab: &Lab) -> Outcome {
    /// Maximum growth of the resident memory during the outage, in kilobytes. Some growth is
    /// normal, because the allocator keeps memory after a load peak.
    const MAX_GROWTH: u64 = 16 * 1_024;
    let mut redis = RedisProcess::start_with(&DURABLE).await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.kill().await;
    sleep(lab.hold).await;
    let early = stage.service.resident();
    sleep(lab.hold * if lab.is_short { 2 } else { 11 }).await;
    let late = stage.service.resident();
    stage.remark(format!(
        "resident memory {early} kB, and {late} kB at the end of the outage"
    ));
    if late > early + MAX_GROWTH {
        stage.add_violation("the memory of the service grew too much");
    }
    redis.start_again().await;
    stage.wait_until_recovered().await;
    stage.end().await
}
