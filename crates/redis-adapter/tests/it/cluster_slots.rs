//! Tests that requests do not fail while hash slots move between the servers of a Redis Cluster.

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
    cluster::{RECOVERED_WITHIN, connect_to_cluster, one_session_per_primary},
    cookies, sealed_key, settings,
};

/// Moves hash slots between the servers of a cluster while eight clients read, create and delete
/// sessions. One of the servers has no hash slots at the start. Every request succeeds, and each
/// read returns the session of its own token.
#[rstest]
#[case::one_connection(1)]
#[case::pool_of_three_connections(3)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_succeed_while_hash_slots_move_between_cluster_servers(#[case] pool: usize) {
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
    let (stop, rounds) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (sessions, stored) = (Arc::clone(&sessions), Arc::clone(&stored));
        let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
        readers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let new = &stored[fastrand::usize(..stored.len())];
                let active = sessions.get(&new.token).await.unwrap();
                assert_eq!(active.session, new.session);
                let short = sessions.store(cookies(), base_url()).await.unwrap();
                assert!(sessions.delete(&short.token).await.unwrap());
                rounds.fetch_add(1, Ordering::Relaxed);
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
            let before = rounds.load(Ordering::Relaxed);
            eventually(RECOVERED_WITHIN, async || {
                rounds.load(Ordering::Relaxed) > before + 5
            })
            .await;
            cluster.move_keys(slot, from, to).await;
            let before = rounds.load(Ordering::Relaxed);
            eventually(RECOVERED_WITHIN, async || {
                rounds.load(Ordering::Relaxed) > before + 5
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

/// Removes a server from the cluster. The removed server then replies to CLUSTER SLOTS that no hash
/// slots are assigned. The adapter must ignore that reply.
#[tokio::test]
async fn requests_succeed_after_a_server_was_removed_from_the_cluster() {
    let logs = CapturedLogs::start();
    let mut cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    let kept = one_session_per_primary(&sessions, &cluster, 3).await;
    let leaving = cluster.add_empty().await;
    // The added server owns a hash slot for a short time, so that the adapter connects to this
    // server.
    let slot = RedisCluster::slot_of(&sealed_key(&kept[0].token));
    for (from, to) in [(0, leaving), (leaving, 0)] {
        cluster.begin_move(slot, from, to).await;
        cluster.move_keys(slot, from, to).await;
        cluster.end_move(slot, from, to).await;
        sessions.get(&kept[0].token).await.unwrap();
        // The first topology read after the move may still return the old topology.
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

/// Accesses a session while its hash slot moves from one server to another, before and after the
/// key of the session is moved. A session that is stored during the move is also found.
#[tokio::test]
async fn session_can_be_read_deleted_and_stored_while_its_hash_slot_is_being_moved() {
    let cluster = RedisCluster::start(2, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
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
    // Stores the session again while the hash slot is still being moved.
    let repository = sessions.repository();
    let minute = Duration::from_secs(60);
    let inserted = repository
        .insert(&moved.token, &moved.session, minute)
        .await;
    assert_eq!(inserted.unwrap(), InsertOutcome::Inserted);
    let twice = repository
        .insert(&moved.token, &moved.session, minute)
        .await;
    assert_eq!(twice.unwrap(), InsertOutcome::TokenTaken);
    cluster.end_move(slot, from, to).await;
    sessions.get(&moved.token).await.unwrap();
}
