//! Revocations of all sessions of a subject, and what happens at the same moment.

use std::{sync::Arc, time::Duration};

use rstest::rstest;
use tee_session_domain::{
    IndexEntry, RepositoryError, SessionError, SessionId, SessionRepository, SubjectIndex,
};
use tee_session_test_support::{RedisCluster, RedisProcess, eventually};

use crate::{
    Sessions,
    cluster::{RECOVERED_WITHIN, clustered, one_of_each},
    modes::{Mode, keys, listed, of_subject},
    sealed_key, sessions, sessions_with, settings,
    subjects::{KEYS, MEMBER, entry, member},
};

/// It took the place of an older one after the revocation was marked: whether its record has been
/// looked for already, nobody knows.
#[tokio::test]
async fn an_entry_that_is_older_than_the_revocation_does_not_stand() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let (first, other) = (
        of_subject(&sessions, MEMBER).await,
        of_subject(&sessions, MEMBER).await,
    );
    let index = sessions.repository().subjects();
    let marked = index.mark_revocation(&member()).await.unwrap();
    let successor = IndexEntry {
        succeeds: Some(first.token.clone()),
        ..entry(&other, Duration::from_secs(60))
    };
    assert_eq!(index.enter(&successor).await.unwrap(), marked);
    let stands = async || index.stands(&member(), &other.token, marked).await;
    assert!(!stands().await.unwrap());
    let anew = entry(&other, Duration::from_secs(60));
    assert_eq!(index.enter(&anew).await.unwrap(), marked);
    assert!(stands().await.unwrap());
    let removal = index.remove_older(&member(), marked).await.unwrap();
    assert_eq!((removal.sessions, removal.is_complete), (1, false));
    assert!(sessions.exists(&other.token).await.unwrap());
}

#[tokio::test]
async fn a_revocation_of_nobodys_sessions_leaves_nothing() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 0);
    assert!(keys(&redis).await.is_empty());
}

/// Two instances, of two modes, whose threads create and rotate while all is revoked: what resolves
/// afterwards is listed, and none of it was there before.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::moving(Mode::Moving)]
#[case::rolled_back(Mode::RolledBack)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_races_a_revocation_escapes_it(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (one, other) = mode.both(&redis.url()).await;
    race_revocations([one, other], 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_cluster_nothing_that_races_a_revocation_escapes_it() {
    let cluster = RedisCluster::start(3, 0).await;
    let patient = settings(&cluster.url()).with_command_timeout(Duration::from_secs(3));
    let fleet = [sessions_with(&patient).await, sessions_with(&patient).await];
    race_revocations(fleet, 30).await;
}

async fn race_revocations(fleet: [Sessions; 2], rounds: u64) {
    let fleet = fleet.map(Arc::new);
    for round in 0..rounds {
        let mut before = Vec::new();
        for n in 0..6 {
            before.push(of_subject(&fleet[n % 2], MEMBER).await);
        }
        let created = (0..6).map(|n| {
            let sessions = Arc::clone(&fleet[n % 2]);
            tokio::spawn(async move { of_subject(&sessions, MEMBER).await })
        });
        let created: Vec<_> = created.collect();
        // All that is rotated was there before: a new token is no way out.
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
        let mut listed = listed(&fleet[0], MEMBER, 100).await;
        listed.sort_by_key(SessionId::to_string);
        live.sort_by_key(SessionId::to_string);
        assert_eq!(listed, live);
        let revoked = fleet[1].revoke_all(&member()).await.unwrap();
        assert_eq!(revoked, live.len());
    }
}

/// Its entry stays for the next try, and the others' records are gone already.
#[tokio::test]
async fn a_revocation_with_a_primary_away_says_so_and_is_made_when_it_is_back() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(2, 0, &durable).await;
    let sessions = clustered(&cluster).await;
    // With their index at the first server.
    let of_others = one_of_each(&sessions, &cluster, 2).await;
    let mut names = (0..).map(|n| format!("member-{n}"));
    let (name, new) = loop {
        let name = names.next().unwrap();
        let mut new = Vec::new();
        for _ in 0..12 {
            new.push(of_subject(&sessions, &name).await);
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

/// Some of an index's keys are at one server and some at the other for a moment.
#[tokio::test]
async fn an_index_on_the_move_is_waited_for() {
    let cluster = RedisCluster::start(2, 0).await;
    let patient = settings(&cluster.url()).with_command_timeout(Duration::from_secs(5));
    let sessions = Arc::new(sessions_with(&patient).await);
    of_subject(&sessions, MEMBER).await;
    let slot = RedisCluster::slot_of(KEYS[0]);
    let from = cluster.primary_of(KEYS[0]);
    let to = 1 - from;
    cluster.begin_move(slot, from, to).await;
    let port = cluster.node(to).port().to_string();
    let migrate = ["MIGRATE", "127.0.0.1", &port, KEYS[0], "0", "5000"];
    cluster.node(from).command(&migrate).await;
    let created = tokio::spawn({
        let sessions = Arc::clone(&sessions);
        async move { of_subject(&sessions, MEMBER).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!created.is_finished());
    cluster.move_keys(slot, from, to).await;
    cluster.end_move(slot, from, to).await;
    created.await.unwrap();
    assert_eq!(listed(&sessions, MEMBER, 10).await.len(), 2);
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 2);
}

/// A Redis without room still slides sessions, so their entries must not end before them.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[tokio::test]
async fn without_room_entries_are_renewed(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let sessions = sessions_with(&mode.writer(&redis.url())).await;
    let new = of_subject(&sessions, MEMBER).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    redis.command(&["PEXPIRE", KEYS[2], "60000"]).await;
    let renewal = IndexEntry {
        succeeds: Some(new.token.clone()),
        ..entry(&new, Duration::from_secs(600))
    };
    let index = sessions.repository().subjects();
    index.enter(&renewal).await.unwrap();
    let ttl = redis.command(&["PTTL", KEYS[2]]).await.as_i64().unwrap();
    assert!(ttl > 500_000, "{ttl}");
}
