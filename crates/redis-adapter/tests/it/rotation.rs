//! Tests of the rotation of sessions to a new token, on a single server and between the servers of
//! a cluster.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_domain::{
    MoveOutcome, RepositoryError, SessionError, SessionManager, SessionPolicy, SessionRepository,
    SessionToken, VersionedSession,
};
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{Fault, FaultProxy, RedisCluster, RedisProcess};

use crate::{
    base_url,
    cluster::{connect_to_cluster, one_session_per_primary},
    connect_with, cookies,
    modes::{Mode, all_keys, integer_reply},
    plain_key, plain_settings, sealed_key, sessions, sessions_with, settings,
};

const TTL: Duration = Duration::from_secs(900);

async fn load_versioned(repository: &RedisRepository, token: &SessionToken) -> VersionedSession {
    let session = repository.load_for_update(token, None).await.unwrap();
    session.expect("a live session")
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[case::sealed_record_after_rollback(Mode::RolledBack)]
#[tokio::test]
async fn token_rotation_leaves_one_record_with_the_same_session_under_the_new_token(
    #[case] mode: Mode,
) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.start_both(&redis.url()).await;
    let new = writer.store(cookies(), base_url()).await.unwrap();
    let rotated = changer.rotate(&new.token).await.unwrap();
    let key = match mode {
        Mode::Sealed | Mode::SealOnAccess | Mode::RolledBack => sealed_key(&rotated.token),
        Mode::Plain => plain_key(&rotated.token),
    };
    assert_eq!(all_keys(&redis).await, [key.as_str()]);
    assert!((1_790..=1_800).contains(&integer_reply(&redis, &["TTL", &key]).await));
    assert_eq!(
        changer.get(&rotated.token).await.unwrap().session,
        new.session
    );
}

/// Stores a sealed (encrypted) record and a plain record under the same token. The rotation of the
/// session removes both records.
#[tokio::test]
async fn token_rotation_removes_both_the_encrypted_and_the_unencrypted_record_of_the_old_token() {
    let redis = RedisProcess::start().await;
    let (writer, changer) = Mode::RolledBack.start_both(&redis.url()).await;
    let sealed = writer.store(cookies(), base_url()).await.unwrap();
    let inserted = changer
        .repository()
        .insert(&sealed.token, &sealed.session, TTL);
    let _ = inserted.await.unwrap();
    assert_eq!(all_keys(&redis).await.len(), 2);
    let rotated = changer.rotate(&sealed.token).await.unwrap();
    assert_eq!(all_keys(&redis).await, [plain_key(&rotated.token)]);
}

#[rstest]
#[case::single_server(false)]
#[case::cluster(true)]
#[tokio::test]
async fn token_rotation_to_a_token_in_use_returns_token_taken_and_changes_nothing(
    #[case] is_clustered: bool,
) {
    let (redis, cluster);
    let url = if is_clustered {
        cluster = RedisCluster::start(2, 0).await;
        cluster.url()
    } else {
        redis = RedisProcess::start().await;
        redis.url()
    };
    let sessions = sessions(&url).await;
    let repository = sessions.repository();
    for _ in 0..8 {
        let one = sessions.store(cookies(), base_url()).await.unwrap();
        let other = sessions.store(cookies(), base_url()).await.unwrap();
        let before = load_versioned(repository, &one.token).await;
        let moved = repository.move_to_new_token(
            &one.token,
            &before.revision,
            &other.token,
            &one.session,
            TTL,
        );
        assert_eq!(moved.await.unwrap(), MoveOutcome::TokenTaken);
        assert_eq!(load_versioned(repository, &one.token).await, before);
        assert_eq!(
            load_versioned(repository, &other.token).await.session,
            other.session
        );
    }
}

#[tokio::test]
async fn token_rotation_returns_outcome_changed_if_the_record_was_encrypted_since_it_was_read() {
    let redis = RedisProcess::start().await;
    let (old, new) = Mode::SealOnAccess.start_both(&redis.url()).await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    let before = load_versioned(old.repository(), &created.token).await;
    new.get(&created.token).await.unwrap();
    let to = SessionToken::generate();
    let moved = old.repository().move_to_new_token(
        &created.token,
        &before.revision,
        &to,
        &before.session,
        TTL,
    );
    assert_eq!(moved.await.unwrap(), MoveOutcome::Changed);
    assert_eq!(all_keys(&redis).await, [sealed_key(&created.token)]);
}

/// In a cluster, a rotation stores the record of the new token on one server, and then deletes the
/// record of the old token on another server. If the old record is changed or removed before the
/// second step, the rotation must delete the new record.
#[tokio::test]
async fn failed_token_rotation_in_a_cluster_leaves_no_record_under_the_new_token() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    let repository = sessions.repository();
    for new in one_session_per_primary(&sessions, &cluster, 3).await {
        for _ in 0..6 {
            let to = SessionToken::generate();
            let before = load_versioned(repository, &new.token).await;
            let swapped =
                repository.compare_and_swap(&new.token, &before.revision, &new.session, TTL);
            let _ = swapped.await.unwrap();
            let move_to_new_token = || {
                repository.move_to_new_token(&new.token, &before.revision, &to, &new.session, TTL)
            };
            assert_eq!(move_to_new_token().await.unwrap(), MoveOutcome::Changed);
            assert_eq!(repository.load_with_ttl(&to).await.unwrap(), None);
        }
        let before = load_versioned(repository, &new.token).await;
        assert!(repository.remove(&new.token).await.unwrap());
        let to = SessionToken::generate();
        let moved =
            repository.move_to_new_token(&new.token, &before.revision, &to, &new.session, TTL);
        assert_eq!(moved.await.unwrap(), MoveOutcome::Gone);
        assert_eq!(repository.load_with_ttl(&to).await.unwrap(), None);
    }
}

#[tokio::test]
async fn token_rotation_can_move_a_session_between_any_two_cluster_servers() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    for new in one_session_per_primary(&sessions, &cluster, 3).await {
        let mut token = new.token;
        for _ in 0..12 {
            let rotated = sessions.rotate(&token).await.unwrap();
            assert_eq!(rotated.session, new.session);
            assert!(!sessions.exists(&token).await.unwrap());
            token = rotated.token;
        }
        assert_eq!(sessions.get(&token).await.unwrap().session, new.session);
    }
}

/// A rotation in a cluster has two steps. In this test, each step takes less than the command
/// timeout, and both steps together take more. The rotation must succeed: if it gave up after the
/// second step was sent, the session would be lost.
#[rstest]
#[case::once(false)]
#[case::repeatable(true)]
#[tokio::test]
async fn each_step_of_a_rotation_in_a_slow_cluster_has_the_whole_command_timeout(
    #[case] is_repeatable: bool,
) {
    let cluster = RedisCluster::start(2, 0).await;
    let timeout = Duration::from_secs(3);
    let slow = settings(&cluster.url()).with_command_timeout(timeout);
    let sessions = sessions_with(&slow).await;
    let repository = sessions.repository();
    let kept = one_session_per_primary(&sessions, &cluster, 2).await;
    let (from, session) = (&kept[0].token, &kept[0].session);
    let seen = load_versioned(repository, from).await.revision;
    let to = token_on_primary(&cluster, 1);
    let began = Instant::now();
    // The server of the first step replies after 2.1 s, and that of the second step after 3.9 s.
    for (node, milliseconds) in [(0, "3900"), (1, "2100")] {
        let pause = ["CLIENT", "PAUSE", milliseconds, "WRITE"];
        cluster.node(node).command(&pause).await;
    }
    let moved = if is_repeatable {
        let moved = repository.move_repeatably(from, &seen, &to, session, TTL);
        moved.await
    } else {
        let moved = repository.move_to_new_token(from, &seen, &to, session, TTL);
        moved.await
    };
    assert_eq!(moved.unwrap(), MoveOutcome::Moved);
    assert!(began.elapsed() > timeout);
    assert_eq!(sessions.get(&to).await.unwrap().session, *session);
    assert!(!sessions.exists(from).await.unwrap());
}

/// Generates a token whose sealed record belongs to the given primary.
fn token_on_primary(cluster: &RedisCluster, primary: usize) -> SessionToken {
    loop {
        let token = SessionToken::generate();
        if cluster.primary_of(&sealed_key(&token)) == primary {
            return token;
        }
    }
}

/// Kills one of two primaries. Sessions on the running primary can be rotated, because the session
/// manager chooses a new token whose Redis key belongs to the running primary. A session on the
/// killed primary cannot be rotated until that primary runs again.
#[tokio::test]
async fn sessions_on_running_cluster_primaries_can_be_rotated_while_another_primary_is_down() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(2, 0, &durable).await;
    let sessions = connect_to_cluster(&cluster).await;
    let kept = one_session_per_primary(&sessions, &cluster, 2).await;
    let before = load_versioned(sessions.repository(), &kept[1].token).await;
    cluster.node_mut(1).kill().await;
    let mut token = kept[0].token.clone();
    for _ in 0..12 {
        token = sessions.rotate(&token).await.unwrap().token;
    }
    let to = token_on_primary(&cluster, 0);
    let moved = sessions.repository().move_to_new_token(
        &kept[1].token,
        &before.revision,
        &to,
        &kept[1].session,
        TTL,
    );
    assert!(matches!(
        moved.await,
        Err(RepositoryError::Unavailable { .. })
    ));
    assert_eq!(
        sessions.repository().load_with_ttl(&to).await.unwrap(),
        None
    );
    assert!(matches!(
        sessions.rotate(&kept[1].token).await,
        Err(SessionError::Repository(
            RepositoryError::Unavailable { .. }
        ))
    ));
    cluster.node_mut(1).start_again().await;
    tee_session_test_support::eventually(crate::cluster::RECOVERED_WITHIN, async || {
        sessions.rotate(&kept[1].token).await.is_ok()
    })
    .await;
}

/// Drops either the request or the reply of a rotation, so that the caller gets `Unavailable`. If
/// the request was dropped, only the record of the old token exists. If the reply was dropped, only
/// the record of the new token exists.
#[rstest]
#[case::request_dropped(Fault::SwallowRequests, false)]
#[case::reply_dropped(Fault::SwallowAnswers, true)]
#[tokio::test]
async fn token_rotation_with_a_lost_request_or_reply_is_either_complete_or_not_applied(
    #[case] fault: Fault,
    #[case] is_applied: bool,
) {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let faulty = settings(&format!("redis://{}", proxy.address()));
    let faulty = faulty.with_command_timeout(Duration::from_secs(1));
    let repository = connect_with(&faulty).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let before = load_versioned(&repository, &new.token).await;
    let to = SessionToken::generate();
    proxy.set(fault);
    let moved = repository.move_to_new_token(&new.token, &before.revision, &to, &new.session, TTL);
    assert!(matches!(
        moved.await,
        Err(RepositoryError::Unavailable { .. })
    ));
    let stored = if is_applied { &to } else { &new.token };
    assert_eq!(all_keys(&redis).await, [sealed_key(stored)]);
}

/// Rotates a session with a plain (unencrypted) record after one of two primaries of a cluster was
/// killed. The key of a sealed (encrypted) record may belong to the killed primary, so the rotation
/// must not read this key.
#[tokio::test]
async fn unencrypted_sessions_on_running_primaries_can_be_rotated_while_another_primary_is_down() {
    let mut cluster = RedisCluster::start_with(2, 0, &[]).await;
    let sessions = sessions_with(&plain_settings(&cluster.url())).await;
    let new = loop {
        let new = sessions.store(cookies(), base_url()).await.unwrap();
        if cluster.primary_of(&plain_key(&new.token)) == 0 {
            break new;
        }
    };
    cluster.node_mut(1).kill().await;
    let mut token = new.token;
    for _ in 0..12 {
        token = sessions.rotate(&token).await.unwrap().token;
    }
    sessions.get(&token).await.unwrap();
}

/// Rotates a sealed (encrypted) session on an instance with the storage format `plain`. The new
/// record is also sealed, because a plain record cannot contain the end of the absolute lifetime.
#[tokio::test]
async fn rotation_of_an_encrypted_session_in_unencrypted_mode_keeps_its_absolute_lifetime() {
    let redis = RedisProcess::start().await;
    let limited = SessionPolicy::new(TTL, Some(TTL)).unwrap();
    let sealing = connect_with(&settings(&redis.url())).await;
    let new = SessionManager::new(sealing, limited);
    let new = new.store(cookies(), base_url()).await.unwrap();
    assert!(new.session.absolute_end.is_some());
    let rolled_back = sessions_with(&plain_settings(&redis.url())).await;
    let rotated = rolled_back.rotate(&new.token).await.unwrap();
    let read = rolled_back.get(&rotated.token).await.unwrap().session;
    assert_eq!(read.absolute_end, new.session.absolute_end);
}
