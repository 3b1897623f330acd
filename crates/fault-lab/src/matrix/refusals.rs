//! Fault scenarios in which Redis replies to commands with errors.

use tee_session_test_support::RedisProcess;

use super::{
    expect::Expect,
    one_redis::DURABLE,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "memory is full (OOM)",
            "503 `store_full` for new sessions; existing sessions are served",
            Expect::RefusedOnly("store_full"),
            out_of_memory
        ),
        row!(
            "turned into a replica (READONLY)",
            "503; stale data is never served",
            Expect::RefusedAtOnce("store_unavailable"),
            read_only
        ),
        row!(
            "disk is full (MISCONF)",
            "503, because a read renews the TTL, which is a write",
            Expect::RefusedAtOnce("store_unavailable"),
            disk_full
        ),
        row!(
            "password changed (WRONGPASS, NOAUTH)",
            "503 until the old password works again",
            Expect::RefusedAtOnce("store_unavailable"),
            password
        ),
        row!(
            "a permission is missing (NOPERM)",
            "503 `store_misconfigured` until the permission is granted again",
            Expect::RefusedAtOnce("store_misconfigured"),
            permission
        ),
        row!(
            "client limit reached (maxclients)",
            "503 until connections are accepted again",
            Expect::RefusedAtOnce("store_unavailable"),
            max_clients
        ),
        row!(
            "too few replicas (NOREPLICAS)",
            "503 until writes are allowed again",
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
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn read_only(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start_with(&DURABLE).await;
    let mut stage = lab.stage(&redis.url()).await;
    // No server listens on port 1, so Redis becomes a replica but keeps its data.
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    stage.hold().await;
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn disk_full(lab: &Lab) -> Outcome {
    // Simulates a full disk: a folder with the name of the snapshot file makes every snapshot fail.
    let redis = RedisProcess::start_with(&["--save", "3600 1", "--dbfilename", "snapshot"]).await;
    let mut stage = lab.stage(&redis.url()).await;
    // Connects the admin client before the fault, because Redis rejects the handshake of a new
    // client while the disk is full.
    let admin = redis.admin().await;
    let snapshot = redis.folder().join("snapshot");
    std::fs::create_dir(&snapshot).unwrap_or_else(|error| stage.add_violation(error.to_string()));
    admin.send(&["BGSAVE"]).await;
    stage.hold().await;
    std::fs::remove_dir(&snapshot).unwrap_or_else(|error| stage.add_violation(error.to_string()));
    admin.send(&["BGSAVE"]).await;
    stage.wait_until_recovered().await;
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
    stage.wait_until_recovered().await;
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
    stage.wait_until_recovered().await;
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
    stage.wait_until_recovered().await;
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
    stage.wait_until_recovered().await;
    stage.end().await
}
