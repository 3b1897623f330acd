//! Tests of the revocation of all sessions of a subject, also while other calls create and rotate
//! sessions.

use std::{sync::Arc, time::Duration};

use rstest::rstest;
use tee_session_domain::{
    IndexEntry, RepositoryError, SessionError, SessionId, SessionRepository, SubjectIndex,
};
use tee_session_test_support::{RedisCluster, RedisProcess, eventually};

use crate::{
    Sessions,
    cluster::{RECOVERED_WITHIN, connect_to_cluster, one_session_per_primary},
    modes::{Mode, all_keys, list_all_ids, store_session_of},
    sealed_key, sessions, sessions_with, settings,
    subjects::{KEYS, MEMBER, index_entry, member},
};

/// Marks the revocation of all sessions of a subject, and then adds the index entry of a rotated
/// session. The entry takes over the position (a timestamp) of the old token, so its position is
/// lower than the position of the revocation. `contains` must return `false`, because the
/// revocation may have missed the record of the rotated session.
#[tokio::test]
async fn contains_returns_false_for_a_rotated_session_positioned_before_a_revocation() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let (first, other) = (
        store_session_of(&sessions, MEMBER).await,
        store_session_of(&sessions, MEMBER).await,
    );
    let index = sessions.repository().subjects();
    let marked = index.mark_revocation(&member()).await.unwrap();
    let successor = IndexEntry {
        succeeds: Some(first.token.clone()),
        ..index_entry(&other, Duration::from_secs(60))
    };
    assert_eq!(index.add(&successor).await.unwrap(), marked);
    let is_contained = async || index.contains(&member(), &other.token, marked).await;
    assert!(!is_contained().await.unwrap());
    let readded = index_entry(&other, Duration::from_secs(60));
    assert_eq!(index.add(&readded).await.unwrap(), marked);
    assert!(is_contained().await.unwrap());
    let removal = index.remove_older(&member(), marked).await.unwrap();
    assert_eq!((removal.sessions, removal.is_complete), (1, false));
    assert!(sessions.exists(&other.token).await.unwrap());
}

#[tokio::test]
async fn revoking_all_sessions_of_a_subject_without_sessions_stores_nothing_in_redis() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 0);
    assert!(all_keys(&redis).await.is_empty());
}

/// Creates and rotates sessions on two instances while all sessions of the subject are revoked. A
/// session from before the revocation must have ended, even if the session was rotated to a new
/// token. Every session that is still live must be listed.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[case::sealed_record_after_rollback(Mode::RolledBack)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_rotated_during_a_revocation_of_all_sessions_are_also_revoked(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (one, other) = mode.start_both(&redis.url()).await;
    race_revocations([one, other], 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_rotated_during_a_revocation_of_all_sessions_are_also_revoked_in_a_cluster() {
    let cluster = RedisCluster::start(3, 0).await;
    let settings = settings(&cluster.url()).with_command_timeout(Duration::from_secs(3));
    let fleet = [
        sessions_with(&settings).await,
        sessions_with(&settings).await,
    ];
    race_revocations(fleet, 30).await;
}

/// Runs `rounds` rounds. Each round creates, rotates and revokes sessions of one subject at the
/// same time on both instances. After each round, asserts that no revoked session is live, and that
/// every live session is listed.
async fn race_revocations(fleet: [Sessions; 2], rounds: u64) {
    let fleet = fleet.map(Arc::new);
    for round in 0..rounds {
        let mut before = Vec::new();
        for n in 0..6 {
            before.push(store_session_of(&fleet[n % 2], MEMBER).await);
        }
        let created = (0..6).map(|n| {
            let sessions = Arc::clone(&fleet[n % 2]);
            tokio::spawn(async move { store_session_of(&sessions, MEMBER).await })
        });
        let created: Vec<_> = created.collect();
        // The rotated sessions were created before the revocation, so their new tokens must also be
        // revoked.
        let rotated = before.iter().enumerate().map(|(n, new)| {
            let (sessions, token) = (Arc::clone(&fleet[(n + 1) % 2]), new.token.clone());
            tokio::spawn(async move { sessions.rotate(&token).await })
        });
        let rotated: Vec<_> = rotated.collect();
        tokio::time::sleep(Duration::from_micros(round * 60)).await;
        fleet[0].revoke_all(&member()).await.unwrap();
        for new in &before {
            assert!(!fleet[1].exists(&new.token).await.unwrap());
        }
        for rotation in rotated {
            match rotation.await.unwrap() {
                Ok(rotated) => assert!(!fleet[1].exists(&rotated.token).await.unwrap()),
                Err(SessionError::NotFound) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        let mut live = Vec::new();
        for new in created {
            let new = new.await.unwrap();
            if fleet[1].exists(&new.token).await.unwrap() {
                live.push(SessionId::of(&new.token));
            }
        }
        let mut listed = list_all_ids(&fleet[0], MEMBER, 100).await;
        listed.sort_by_key(SessionId::to_string);
        live.sort_by_key(SessionId::to_string);
        assert_eq!(listed, live);
        let revoked = fleet[1].revoke_all(&member()).await.unwrap();
        assert_eq!(revoked, live.len());
    }
}

/// Kills one of two primaries. The revocation fails, but removes the records on the running
/// primary. The index entries of the sessions on the killed primary stay, so that a second
/// revocation can remove these sessions when the primary runs again.
#[tokio::test]
async fn revoking_all_sessions_fails_while_a_cluster_primary_is_down_and_succeeds_afterwards() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(2, 0, &durable).await;
    let sessions = connect_to_cluster(&cluster).await;
    // Chooses a subject whose index is on the first primary, because the second primary is killed.
    let of_others = one_session_per_primary(&sessions, &cluster, 2).await;
    let mut names = (0..).map(|n| format!("member-{n}"));
    let (name, new) = loop {
        let name = names.next().unwrap();
        let mut new = Vec::new();
        for _ in 0..12 {
            new.push(store_session_of(&sessions, &name).await);
        }
        let index = cluster.node(0).command(&["KEYS", "subject:*"]).await;
        if !index.into_array().is_empty() {
            break (name, new);
        }
    };
    let subject = name.parse().unwrap();
    cluster.node_mut(1).kill().await;
    let refused = sessions.revoke_all(&subject).await;
    assert!(matches!(
        refused,
        Err(SessionError::Repository(
            RepositoryError::Unavailable { .. }
        ))
    ));
    for new in &new {
        if cluster.primary_of(&sealed_key(&new.token)) == 0 {
            assert!(!sessions.exists(&new.token).await.unwrap());
        }
    }
    cluster.node_mut(1).start_again().await;
    eventually(RECOVERED_WITHIN, async || {
        sessions.revoke_all(&subject).await.is_ok()
    })
    .await;
    for new in &new {
        assert!(!sessions.exists(&new.token).await.unwrap());
    }
    for other in &of_others {
        assert!(sessions.exists(&other.token).await.unwrap());
    }
}

/// Moves the hash slot of a subject index to another server. During the move, one of the three
/// index keys is on the new server and the others are on the old server. The cluster then rejects a
/// command on all three keys with TRYAGAIN, and the adapter repeats the command until the move has
/// ended.
#[tokio::test]
async fn session_creation_waits_while_the_hash_slot_of_the_subject_index_is_being_moved() {
    let cluster = RedisCluster::start(2, 0).await;
    let settings = settings(&cluster.url()).with_command_timeout(Duration::from_secs(5));
    let sessions = Arc::new(sessions_with(&settings).await);
    store_session_of(&sessions, MEMBER).await;
    let slot = RedisCluster::slot_of(KEYS[0]);
    let from = cluster.primary_of(KEYS[0]);
    let to = 1 - from;
    cluster.begin_move(slot, from, to).await;
    let port = cluster.node(to).port().to_string();
    let migrate = ["MIGRATE", "127.0.0.1", &port, KEYS[0], "0", "5000"];
    cluster.node(from).command(&migrate).await;
    let created = tokio::spawn({
        let sessions = Arc::clone(&sessions);
        async move { store_session_of(&sessions, MEMBER).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!created.is_finished());
    cluster.move_keys(slot, from, to).await;
    cluster.end_move(slot, from, to).await;
    created.await.unwrap();
    assert_eq!(list_all_ids(&sessions, MEMBER, 10).await.len(), 2);
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 2);
}

/// Sets `maxmemory` to 1 byte. Redis then still renews the TTL of a session, so Redis must also
/// renew the TTL of the index entry. Otherwise the index entry would expire before the session.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[tokio::test]
async fn ttl_of_subject_index_entries_is_renewed_when_redis_is_out_of_memory(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let sessions = sessions_with(&mode.writer(&redis.url())).await;
    let new = store_session_of(&sessions, MEMBER).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    redis.command(&["PEXPIRE", KEYS[2], "60000"]).await;
    let renewal = IndexEntry {
        succeeds: Some(new.token.clone()),
        ..index_entry(&new, Duration::from_secs(600))
    };
    let index = sessions.repository().subjects();
    index.add(&renewal).await.unwrap();
    let ttl = redis.command(&["PTTL", KEYS[2]]).await.as_i64().unwrap();
    assert!(ttl > 500_000, "{ttl}");
}
