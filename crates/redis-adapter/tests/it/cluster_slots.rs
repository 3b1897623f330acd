//! Slots of a Redis Cluster on the move: nobody notices.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_domain::{
    Cookies, InsertOutcome, SessionManager, SessionPolicy, SessionRepository,
};
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{CapturedLogs, RedisCluster, eventually};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    CONNECTED_WITHIN, base_url,
    cluster::{RECOVERED_WITHIN, clustered, one_of_each},
    cookies, sealed_key, settings,
};

/// Slots move, to a server that has some and to one that has none yet, and back, while many read,
/// create and delete: nobody notices, and nobody gets another's session.
#[rstest]
#[case::one_thread_each(1)]
#[case::a_pool_that_threads_share(3)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_on_the_move_are_not_noticed(#[case] pool: usize) {
    const READERS: usize = 8;
    let mut cluster = RedisCluster::start(3, 0).await;
    let repository = RedisRepository::connect_pool(&settings(&cluster.url()), pool);
    repository
        .wait_until_connected(CONNECTED_WITHIN)
        .await
        .unwrap();
    let sessions = Arc::new(SessionManager::new(repository, SessionPolicy::default()));
    let mut stored = Vec::new();
    for n in 0..300 {
        let cookies = Cookies::new([("OWNER".to_owned(), format!("owner-{n}"))]).unwrap();
        stored.push(sessions.store(cookies, base_url()).await.unwrap());
    }
    let empty = cluster.add_empty().await;
    let stored = Arc::new(stored);
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (sessions, stored) = (Arc::clone(&sessions), Arc::clone(&stored));
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        readers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let new = &stored[fastrand::usize(..stored.len())];
                let active = sessions.get(&new.token).await.unwrap();
                assert_eq!(active.session, new.session);
                let short = sessions.store(cookies(), base_url()).await.unwrap();
                assert!(sessions.delete(&short.token).await.unwrap());
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let slots: BTreeSet<_> = stored
        .iter()
        .map(|new| RedisCluster::slot_of(&sealed_key(&new.token)))
        .collect();
    let of_first = slots
        .iter()
        .copied()
        .filter(|slot| cluster.slots_of(0).contains(slot));
    for slot in of_first.take(8) {
        for (from, to) in [(0, empty), (empty, 1), (1, 0)] {
            cluster.begin_move(slot, from, to).await;
            let before = asked.load(Ordering::Relaxed);
            eventually(RECOVERED_WITHIN, async || {
                asked.load(Ordering::Relaxed) > before + 5
            })
            .await;
            cluster.move_keys(slot, from, to).await;
            let before = asked.load(Ordering::Relaxed);
            eventually(RECOVERED_WITHIN, async || {
                asked.load(Ordering::Relaxed) > before + 5
            })
            .await;
            cluster.end_move(slot, from, to).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}

/// It answers that there are no slots at all: nobody may believe it.
#[tokio::test]
async fn a_server_that_leaves_the_cluster_is_not_noticed() {
    let logs = CapturedLogs::start();
    let mut cluster = RedisCluster::start(3, 0).await;
    let sessions = clustered(&cluster).await;
    let kept = one_of_each(&sessions, &cluster, 3).await;
    let leaving = cluster.add_empty().await;
    // Once it had a slot, so that there is a connection to it.
    let slot = RedisCluster::slot_of(&sealed_key(&kept[0].token));
    for (from, to) in [(0, leaving), (leaving, 0)] {
        cluster.begin_move(slot, from, to).await;
        cluster.move_keys(slot, from, to).await;
        cluster.end_move(slot, from, to).await;
        sessions.get(&kept[0].token).await.unwrap();
        // One look at the topology may still find the old one.
        let port = cluster.node(leaving).port().to_string();
        eventually(RECOVERED_WITHIN, async || {
            let known = logs.events("Redis Cluster topology changed");
            known
                .last()
                .is_some_and(|last| last.contains(&port) == (to == leaving))
        })
        .await;
    }
    assert!(cluster.node(leaving).client_count().await > 0);
    cluster.remove(leaving).await;
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        for new in &kept {
            sessions.get(&new.token).await.unwrap();
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// One slot is given to another server half moved: what is still at the old one, what has moved,
/// and what is new are all found.
#[tokio::test]
async fn each_operation_follows_a_slot_that_is_half_moved() {
    let cluster = RedisCluster::start(2, 0).await;
    let sessions = clustered(&cluster).await;
    let moved = sessions.store(cookies(), base_url()).await.unwrap();
    let slot = RedisCluster::slot_of(&sealed_key(&moved.token));
    let from = cluster.primary_of(&sealed_key(&moved.token));
    let to = 1 - from;
    cluster.begin_move(slot, from, to).await;
    sessions.get(&moved.token).await.unwrap();
    cluster.move_keys(slot, from, to).await;
    sessions.get(&moved.token).await.unwrap();
    assert!(sessions.ttl(&moved.token).await.unwrap().is_some());
    assert!(sessions.delete(&moved.token).await.unwrap());
    assert!(!sessions.exists(&moved.token).await.unwrap());
    // And one that is created meanwhile.
    let again = sessions.repository();
    let minute = Duration::from_secs(60);
    let inserted = again.insert(&moved.token, &moved.session, minute).await;
    assert_eq!(inserted.unwrap(), InsertOutcome::Inserted);
    let twice = again.insert(&moved.token, &moved.session, minute).await;
    assert_eq!(twice.unwrap(), InsertOutcome::TokenTaken);
    cluster.end_move(slot, from, to).await;
    sessions.get(&moved.token).await.unwrap();
}
