//! A Redis that answers, and refuses.

use tee_session_test_support::RedisProcess;

use super::{Expect, Row, one_redis::DURABLE, row};
use crate::stage::{Lab, Outcome};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "its memory is full (OOM)",
            "503 `store_full` for new sessions; the others are served",
            Expect::RefusedOnly("store_full"),
            out_of_memory
        ),
        row!(
            "it became a replica (READONLY)",
            "503, never an answer from stale data",
            Expect::RefusedAtOnce("store_unavailable"),
            read_only
        ),
        row!(
            "its disk is full (MISCONF)",
            "503, for a read extends a session",
            Expect::RefusedAtOnce("store_unavailable"),
            disk_full
        ),
        row!(
            "another password (WRONGPASS, NOAUTH)",
            "503 until the right one fits again",
            Expect::RefusedAtOnce("store_unavailable"),
            password
        ),
        row!(
            "a permission is missing (NOPERM)",
            "503 until it is given again",
            Expect::RefusedAtOnce("store_unavailable"),
            permission
        ),
        row!(
            "it takes no more clients (maxclients)",
            "503 for those cut off until it does",
            Expect::RefusedAtOnce("store_unavailable"),
            max_clients
        ),
        row!(
            "too few replicas (NOREPLICAS)",
            "503 until there are enough",
            Expect::RefusedAtOnce("store_unavailable"),
            too_few_replicas
        ),
    ]
}

async fn out_of_memory(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start_with(&["--maxmemory-policy", "noeviction", "--save", ""]).await;
    let mut stage = lab.stage(&redis.url()).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    stage.hold().await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    stage.healed().await;
    stage.end().await
}

async fn read_only(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start_with(&DURABLE).await;
    let mut stage = lab.stage(&redis.url()).await;
    // Of a primary that is not there: it keeps its data.
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    stage.hold().await;
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    stage.healed().await;
    stage.end().await
}

async fn disk_full(lab: &Lab) -> Outcome {
    // A folder stands where the snapshot should be.
    let redis = RedisProcess::start_with(&["--save", "3600 1", "--dbfilename", "snapshot"]).await;
    let mut stage = lab.stage(&redis.url()).await;
    // With a full disk Redis greets no new client.
    let admin = redis.admin().await;
    let snapshot = redis.folder().join("snapshot");
    std::fs::create_dir(&snapshot).unwrap_or_else(|error| stage.violated(error.to_string()));
    admin.send(&["BGSAVE"]).await;
    stage.hold().await;
    std::fs::remove_dir(&snapshot).unwrap_or_else(|error| stage.violated(error.to_string()));
    admin.send(&["BGSAVE"]).await;
    stage.healed().await;
    stage.end().await
}

async fn password(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let admin = redis.admin().await;
    admin
        .send(&["CONFIG", "SET", "requirepass", "another"])
        .await;
    admin
        .send(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    stage.hold().await;
    admin.send(&["CONFIG", "SET", "requirepass", ""]).await;
    stage.healed().await;
    stage.end().await
}

async fn permission(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    redis
        .command(&["ACL", "SETUSER", "default", "-expire"])
        .await;
    stage.hold().await;
    redis
        .command(&["ACL", "SETUSER", "default", "+expire"])
        .await;
    stage.healed().await;
    stage.end().await
}

async fn max_clients(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let admin = redis.admin().await;
    admin.send(&["CONFIG", "SET", "maxclients", "1"]).await;
    admin
        .send(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    stage.hold().await;
    admin.send(&["CONFIG", "SET", "maxclients", "10000"]).await;
    stage.healed().await;
    stage.end().await
}

async fn too_few_replicas(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    redis
        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    stage.hold().await;
    redis
        .command(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await;
    stage.healed().await;
    stage.end().await
}
