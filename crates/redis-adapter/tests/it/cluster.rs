//! Redis Cluster: each key at its own primary, wherever that is now, and one primary's trouble is
//! its own.

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
    CONNECTED_WITHIN, Sessions, base_url, cookies, plain, sealed_key, sessions, sessions_with,
    settings,
};

const COMMAND_TIMEOUT: Duration = Duration::from_millis(300);

pub(crate) const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// What a call may take that asks nobody.
const AT_ONCE: Duration = Duration::from_millis(20);

pub(crate) async fn clustered(cluster: &RedisCluster) -> Sessions {
    sessions_with(&settings(&cluster.url()).with_command_timeout(COMMAND_TIMEOUT)).await
}

/// Sessions until each primary has at least one: the first of each.
pub(crate) async fn one_of_each(
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
async fn sessions_stand_at_all_primaries_and_every_operation_finds_them() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = clustered(&cluster).await;
    for new in one_of_each(&sessions, &cluster, 3).await {
        let active = sessions.get(&new.token).await.unwrap();
        assert_eq!(active.session, new.session);
        assert!(sessions.ttl(&new.token).await.unwrap().is_some());
        assert!(sessions.delete(&new.token).await.unwrap());
        assert!(!sessions.exists(&new.token).await.unwrap());
    }
    sessions.repository().ping().await.unwrap();
}

#[derive(Debug, Clone, Copy)]
enum Lost {
    Killed,
    Paused,
}

/// The others' sessions are served as before, and new ones are made among them.
#[rstest]
#[case::killed(Lost::Killed)]
#[case::paused(Lost::Paused)]
#[tokio::test]
async fn a_lost_primary_without_a_replica_harms_only_its_own_sessions(#[case] lost: Lost) {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(3, 0, &durable).await;
    let sessions = clustered(&cluster).await;
    let kept = one_of_each(&sessions, &cluster, 3).await;
    match lost {
        Lost::Killed => cluster.node_mut(1).kill().await,
        Lost::Paused => cluster.node(1).pause(),
    }
    let started = Instant::now();
    let (mut slow, mut asked) = (0, 0);
    while started.elapsed() < Duration::from_secs(4) {
        for unharmed in [&kept[0], &kept[2]] {
            let began = Instant::now();
            sessions.get(&unharmed.token).await.unwrap();
            slow += usize::from(began.elapsed() > AT_ONCE);
            asked += 1;
        }
        let began = Instant::now();
        assert!(is_unavailable(&sessions.get(&kept[1].token).await));
        assert!(began.elapsed() < 2 * COMMAND_TIMEOUT);
        sleep(Duration::from_millis(5)).await;
    }
    // A busy machine may hold some up.
    assert!(slow <= asked / 20, "{slow} of {asked} were slow");
    for _ in 0..30 {
        sessions.store(cookies(), base_url()).await.unwrap();
    }
    sessions.repository().ping().await.unwrap();
    match lost {
        Lost::Killed => cluster.node_mut(1).start_again().await,
        Lost::Paused => cluster.node(1).resume(),
    }
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&kept[1].token).await.is_ok()
    })
    .await;
}

#[rstest]
#[case::killed(Lost::Killed)]
#[case::paused(Lost::Paused)]
#[tokio::test]
async fn a_replica_that_takes_over_is_found(#[case] lost: Lost) {
    let mut cluster = RedisCluster::start(3, 1).await;
    let sessions = clustered(&cluster).await;
    let kept = one_of_each(&sessions, &cluster, 3).await;
    // Acknowledged and then lost is what asynchronous replication may do: not what this is about.
    sleep(Duration::from_millis(200)).await;
    match lost {
        Lost::Killed => cluster.node_mut(0).kill().await,
        Lost::Paused => cluster.node(0).pause(),
    }
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&kept[1].token).await.unwrap();
        sessions.get(&kept[0].token).await.is_ok()
    })
    .await;
    assert!(cluster.is_primary(3).await, "its replica has taken over");
    for new in &kept {
        assert!(sessions.delete(&new.token).await.unwrap());
    }
    if matches!(lost, Lost::Paused) {
        cluster.node(0).resume();
        // The old primary comes back with what it knew: nobody asks it.
        for _ in 0..100 {
            assert!(!sessions.exists(&kept[0].token).await.unwrap());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn the_cluster_is_found_through_any_server_of_the_url_that_lives() {
    let mut cluster = RedisCluster::start(2, 1).await;
    let url = cluster.url();
    // The other one that the URL names is a replica.
    cluster.node_mut(0).kill().await;
    let repository = RedisRepository::connect(&settings(&url));
    let sessions = SessionManager::new(repository, SessionPolicy::default());
    eventually(RECOVERED_WITHIN, async || {
        sessions.store(cookies(), base_url()).await.is_ok()
    })
    .await;
}

/// A cluster that refuses everything because a part of it is lost, as is its default.
#[tokio::test]
async fn a_cluster_that_is_down_is_unavailable_and_comes_back() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(3, 0, &durable).await;
    for n in 0..3 {
        let set = ["CONFIG", "SET", "cluster-require-full-coverage", "yes"];
        cluster.node(n).command(&set).await;
    }
    let logs = CapturedLogs::start();
    let sessions = clustered(&cluster).await;
    let warned = "cluster-require-full-coverage";
    eventually(RECOVERED_WITHIN, async || logs.text().contains(warned)).await;
    let kept = one_of_each(&sessions, &cluster, 3).await;
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
async fn unknown_tokens_are_not_found_at_every_primary() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = clustered(&cluster).await;
    for _ in 0..30 {
        let unknown = sessions.get(&SessionToken::generate()).await;
        assert!(matches!(unknown, Err(SessionError::NotFound)));
    }
}

/// A session's two keys lie apart.
#[tokio::test]
async fn an_instance_set_to_plain_serves_sealed_sessions_of_a_cluster_too() {
    let cluster = RedisCluster::start(3, 0).await;
    let sealed = sessions(&cluster.url()).await;
    let plain = sessions_with(&plain(&cluster.url())).await;
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
async fn a_user_with_the_minimal_permissions_serves_a_cluster() {
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
async fn closing_and_dropping_end_every_connection() {
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
