//! Tests of Redis Cluster: routing of keys to their primaries, failover to a replica, and the loss
//! of a single primary.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_domain::{
    NewSession, RepositoryError, SessionError, SessionManager, SessionPolicy, SessionRepository,
    SessionToken,
};
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{CapturedLogs, RedisCluster, eventually};
use tokio::time::sleep;

use crate::{
    CONNECTED_WITHIN, Sessions, base_url, cookies, plain_settings, sealed_key, sessions,
    sessions_with, settings,
};

const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// Maximum duration of a call to a running primary while another primary is down.
const UNDELAYED: Duration = Duration::from_millis(20);

pub(crate) async fn connect_to_cluster(cluster: &RedisCluster) -> Sessions {
    sessions_with(&settings(&cluster.url()).with_command_timeout(COMMAND_TIMEOUT)).await
}

/// Stores sessions until each primary has at least one session. Returns the first session of each
/// primary, in the order of the primaries.
pub(crate) async fn one_session_per_primary(
    sessions: &Sessions,
    cluster: &RedisCluster,
    primaries: usize,
) -> Vec<NewSession> {
    let mut found: Vec<Option<NewSession>> = (0..primaries).map(|_| None).collect();
    while found.iter().any(Option::is_none) {
        let new = sessions.store(cookies(), base_url()).await.unwrap();
        let primary = cluster.primary_of(&sealed_key(&new.token));
        found[primary].get_or_insert(new);
    }
    found.into_iter().flatten().collect()
}

fn is_unavailable<T>(result: &Result<T, SessionError>) -> bool {
    matches!(
        result,
        Err(SessionError::Repository(
            RepositoryError::Unavailable { .. }
        ))
    )
}

#[tokio::test]
async fn sessions_on_each_cluster_primary_can_be_read_and_deleted() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    for new in one_session_per_primary(&sessions, &cluster, 3).await {
        let active = sessions.get(&new.token).await.unwrap();
        assert_eq!(active.session, new.session);
        assert!(sessions.ttl(&new.token).await.unwrap().is_some());
        assert!(sessions.delete(&new.token).await.unwrap());
        assert!(!sessions.exists(&new.token).await.unwrap());
    }
    sessions.repository().ping().await.unwrap();
}

#[derive(Debug, Clone, Copy)]
enum PrimaryFault {
    Killed,
    Paused,
}

/// Kills or pauses one of three primaries. The primaries have no replicas. Sessions on the two
/// running primaries are served without delay, and new sessions are stored there.
#[rstest]
#[case::killed(PrimaryFault::Killed)]
#[case::paused(PrimaryFault::Paused)]
#[tokio::test]
async fn loss_of_a_cluster_primary_without_replica_affects_only_sessions_on_that_primary(
    #[case] fault: PrimaryFault,
) {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(3, 0, &durable).await;
    let sessions = connect_to_cluster(&cluster).await;
    let kept = one_session_per_primary(&sessions, &cluster, 3).await;
    match fault {
        PrimaryFault::Killed => cluster.node_mut(1).kill().await,
        PrimaryFault::Paused => cluster.node(1).pause(),
    }
    let started = Instant::now();
    let (mut slow, mut requests) = (0, 0);
    while started.elapsed() < Duration::from_secs(4) {
        for unaffected in [&kept[0], &kept[2]] {
            let began = Instant::now();
            sessions.get(&unaffected.token).await.unwrap();
            slow += usize::from(began.elapsed() > UNDELAYED);
            requests += 1;
        }
        let began = Instant::now();
        assert!(is_unavailable(&sessions.get(&kept[1].token).await));
        assert!(began.elapsed() < 2 * COMMAND_TIMEOUT);
        sleep(Duration::from_millis(5)).await;
    }
    // Some requests may be slow on a busy machine.
    assert!(slow <= requests / 20, "{slow} of {requests} were slow");
    for _ in 0..30 {
        sessions.store(cookies(), base_url()).await.unwrap();
    }
    sessions.repository().ping().await.unwrap();
    match fault {
        PrimaryFault::Killed => cluster.node_mut(1).start_again().await,
        PrimaryFault::Paused => cluster.node(1).resume(),
    }
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&kept[1].token).await.is_ok()
    })
    .await;
}

#[rstest]
#[case::killed(PrimaryFault::Killed)]
#[case::paused(PrimaryFault::Paused)]
#[tokio::test]
async fn promoted_replica_serves_the_sessions_of_the_failed_cluster_primary(
    #[case] fault: PrimaryFault,
) {
    let mut cluster = RedisCluster::start(3, 1).await;
    let sessions = connect_to_cluster(&cluster).await;
    let kept = one_session_per_primary(&sessions, &cluster, 3).await;
    // Waits for replication, because a failover loses acknowledged writes that were not replicated.
    sleep(Duration::from_millis(200)).await;
    match fault {
        PrimaryFault::Killed => cluster.node_mut(0).kill().await,
        PrimaryFault::Paused => cluster.node(0).pause(),
    }
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&kept[1].token).await.unwrap();
        sessions.get(&kept[0].token).await.is_ok()
    })
    .await;
    assert!(cluster.is_primary(3).await, "its replica was promoted");
    for new in &kept {
        assert!(sessions.delete(&new.token).await.unwrap());
    }
    if matches!(fault, PrimaryFault::Paused) {
        cluster.node(0).resume();
        // The resumed old primary still contains the deleted sessions, so it must not be used.
        for _ in 0..100 {
            assert!(!sessions.exists(&kept[0].token).await.unwrap());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn cluster_is_discovered_through_any_running_server_that_the_url_names() {
    let mut cluster = RedisCluster::start(2, 1).await;
    let url = cluster.url();
    // The URL names the first and the last server of the cluster. The last server is a replica and
    // stays up.
    cluster.node_mut(0).kill().await;
    let repository = RedisRepository::connect(&settings(&url));
    let sessions = SessionManager::new(repository, SessionPolicy::default());
    eventually(RECOVERED_WITHIN, async || {
        sessions.store(cookies(), base_url()).await.is_ok()
    })
    .await;
}

/// Sets the option `cluster-require-full-coverage` to `yes`, as Redis does by default. With this
/// option, the whole cluster rejects commands while one primary is down.
#[tokio::test]
async fn cluster_that_requires_full_slot_coverage_is_unavailable_while_a_primary_is_down() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(3, 0, &durable).await;
    for n in 0..3 {
        let set = ["CONFIG", "SET", "cluster-require-full-coverage", "yes"];
        cluster.node(n).command(&set).await;
    }
    let logs = CapturedLogs::start();
    let sessions = connect_to_cluster(&cluster).await;
    let warned = "cluster-require-full-coverage";
    eventually(RECOVERED_WITHIN, async || logs.text().contains(warned)).await;
    let kept = one_session_per_primary(&sessions, &cluster, 3).await;
    cluster.node_mut(2).kill().await;
    eventually(RECOVERED_WITHIN, async || {
        is_unavailable(&sessions.get(&kept[0].token).await)
    })
    .await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        let began = Instant::now();
        for new in &kept {
            let got = sessions.get(&new.token).await;
            assert!(is_unavailable(&got), "{got:?}");
        }
        assert!(began.elapsed() < 3 * COMMAND_TIMEOUT);
    }
    cluster.node_mut(2).start_again().await;
    for new in &kept {
        eventually(RECOVERED_WITHIN, async || {
            sessions.get(&new.token).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn unknown_token_returns_not_found_on_every_cluster_primary() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    for _ in 0..30 {
        let unknown = sessions.get(&SessionToken::generate()).await;
        assert!(matches!(unknown, Err(SessionError::NotFound)));
    }
}

/// Stores sealed (encrypted) sessions in a cluster, and accesses the sessions with an instance that
/// has the storage format `plain`. In a cluster, the sealed and the plain key of a session may
/// belong to different servers.
#[tokio::test]
async fn instance_in_unencrypted_mode_reads_and_deletes_encrypted_sessions_in_a_cluster() {
    let cluster = RedisCluster::start(3, 0).await;
    let sealed = sessions(&cluster.url()).await;
    let plain = sessions_with(&plain_settings(&cluster.url())).await;
    for _ in 0..10 {
        let new = sealed.store(cookies(), base_url()).await.unwrap();
        assert_eq!(plain.get(&new.token).await.unwrap().session, new.session);
        assert!(plain.exists(&new.token).await.unwrap());
        assert!(plain.delete(&new.token).await.unwrap());
        assert!(!sealed.exists(&new.token).await.unwrap());
        let new = plain.store(cookies(), base_url()).await.unwrap();
        assert!(plain.delete(&new.token).await.unwrap());
    }
}

#[tokio::test]
async fn session_operations_succeed_with_minimal_redis_permissions_in_a_cluster() {
    let cluster = RedisCluster::start(2, 0).await;
    for n in 0..2 {
        crate::faults::add_minimal_user(cluster.node(n)).await;
        let more = [
            "ACL",
            "SETUSER",
            "tee",
            "+cluster|slots",
            "+cluster|info",
            "+asking",
        ];
        cluster.node(n).command(&more).await;
    }
    let url = cluster
        .url()
        .replace("redis-cluster://", "redis-cluster://tee:s3cret@");
    let settings = settings(&url);
    for _ in 0..4 {
        crate::faults::assert_serves_every_operation(&settings).await;
    }
}

#[tokio::test]
async fn closing_or_dropping_the_redis_repository_ends_all_connections_to_the_cluster() {
    let cluster = RedisCluster::start(2, 0).await;
    let clients =
        async || cluster.node(0).client_count().await + cluster.node(1).client_count().await;
    let dropped = RedisRepository::connect_pool(&settings(&cluster.url()), 2);
    dropped
        .wait_until_connected(CONNECTED_WITHIN)
        .await
        .unwrap();
    assert!(clients().await >= 4);
    drop(dropped);
    eventually(RECOVERED_WITHIN, async || clients().await == 0).await;
    let closed = RedisRepository::connect(&settings(&cluster.url()));
    closed.wait_until_connected(CONNECTED_WITHIN).await.unwrap();
    closed.close().await;
    assert!(closed.ping().await.is_err());
    eventually(RECOVERED_WITHIN, async || clients().await == 0).await;
}
