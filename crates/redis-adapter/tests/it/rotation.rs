//! Sessions under a new token, on one server and between those of a cluster.

use std::time::Duration;

use rstest::rstest;
use tee_session_domain::{
    RelocateOutcome, RepositoryError, RevisedSession, SessionError, SessionManager, SessionPolicy,
    SessionRepository, SessionToken,
};
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{Fault, FaultProxy, RedisCluster, RedisProcess};

use crate::{
    base_url,
    cluster::{clustered, one_of_each},
    connected_with, cookies,
    modes::{Mode, keys, number},
    plain, plain_key, sealed_key, sessions, sessions_with, settings,
};

const TTL: Duration = Duration::from_secs(900);

async fn seen(repository: &RedisRepository, token: &SessionToken) -> RevisedSession {
    let seen = repository.fetch_revision(token).await.unwrap();
    seen.expect("it lives")
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::moving(Mode::Moving)]
#[case::rolled_back(Mode::RolledBack)]
#[tokio::test]
async fn the_new_record_is_written_as_the_old_one_was_which_is_gone(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.both(&redis.url()).await;
    let new = writer.store(cookies(), base_url()).await.unwrap();
    let rotated = changer.rotate(&new.token).await.unwrap();
    let key = match mode {
        Mode::Sealed | Mode::Moving | Mode::RolledBack => sealed_key(&rotated.token),
        Mode::Plain => plain_key(&rotated.token),
    };
    assert_eq!(keys(&redis).await, [key.as_str()]);
    assert!((1_790..=1_800).contains(&number(&redis, &["TTL", &key]).await));
    assert_eq!(
        changer.get(&rotated.token).await.unwrap().session,
        new.session
    );
}

/// However it came there.
#[tokio::test]
async fn a_second_copy_of_the_old_session_goes_as_well() {
    let redis = RedisProcess::start().await;
    let (writer, changer) = Mode::RolledBack.both(&redis.url()).await;
    let sealed = writer.store(cookies(), base_url()).await.unwrap();
    let inserted = changer
        .repository()
        .insert(&sealed.token, &sealed.session, TTL);
    let _ = inserted.await.unwrap();
    assert_eq!(keys(&redis).await.len(), 2);
    let rotated = changer.rotate(&sealed.token).await.unwrap();
    assert_eq!(keys(&redis).await, [plain_key(&rotated.token)]);
}

#[rstest]
#[case::one_server(false)]
#[case::cluster(true)]
#[tokio::test]
async fn what_stands_under_the_new_token_is_not_replaced(#[case] is_clustered: bool) {
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
        let before = seen(repository, &one.token).await;
        let relocated = repository.relocate(
            &one.token,
            &before.revision,
            &other.token,
            &one.session,
            TTL,
        );
        assert_eq!(relocated.await.unwrap(), RelocateOutcome::TokenTaken);
        assert_eq!(seen(repository, &one.token).await, before);
        assert_eq!(seen(repository, &other.token).await.session, other.session);
    }
}

#[tokio::test]
async fn a_session_that_was_sealed_meanwhile_is_changed_and_not_gone() {
    let redis = RedisProcess::start().await;
    let (old, new) = Mode::Moving.both(&redis.url()).await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    let before = seen(old.repository(), &created.token).await;
    new.get(&created.token).await.unwrap();
    let to = SessionToken::generate();
    let relocated =
        old.repository()
            .relocate(&created.token, &before.revision, &to, &before.session, TTL);
    assert_eq!(relocated.await.unwrap(), RelocateOutcome::Changed);
    assert_eq!(keys(&redis).await, [sealed_key(&created.token)]);
}

/// Between servers there is a moment with both records; none is left of it.
#[tokio::test]
async fn in_a_cluster_what_is_not_relocated_leaves_nothing_behind() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = clustered(&cluster).await;
    let repository = sessions.repository();
    for new in one_of_each(&sessions, &cluster, 3).await {
        for _ in 0..6 {
            let to = SessionToken::generate();
            let before = seen(repository, &new.token).await;
            let swapped =
                repository.compare_and_swap(&new.token, &before.revision, &new.session, TTL);
            let _ = swapped.await.unwrap();
            let relocate =
                || repository.relocate(&new.token, &before.revision, &to, &new.session, TTL);
            assert_eq!(relocate().await.unwrap(), RelocateOutcome::Changed);
            assert_eq!(repository.peek(&to).await.unwrap(), None);
        }
        let before = seen(repository, &new.token).await;
        assert!(repository.remove(&new.token).await.unwrap());
        let to = SessionToken::generate();
        let relocated = repository.relocate(&new.token, &before.revision, &to, &new.session, TTL);
        assert_eq!(relocated.await.unwrap(), RelocateOutcome::Gone);
        assert_eq!(repository.peek(&to).await.unwrap(), None);
    }
}

#[tokio::test]
async fn in_a_cluster_a_session_moves_between_any_two_servers() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = clustered(&cluster).await;
    for new in one_of_each(&sessions, &cluster, 3).await {
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

/// A new token is drawn among the servers that are there; a session on the lost one stays as it is.
#[tokio::test]
async fn with_a_primary_away_the_others_sessions_are_rotated() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut cluster = RedisCluster::start_with(2, 0, &durable).await;
    let sessions = clustered(&cluster).await;
    let kept = one_of_each(&sessions, &cluster, 2).await;
    let before = seen(sessions.repository(), &kept[1].token).await;
    cluster.node_mut(1).kill().await;
    let mut token = kept[0].token.clone();
    for _ in 0..12 {
        token = sessions.rotate(&token).await.unwrap().token;
    }
    let mut to = SessionToken::generate();
    while cluster.primary_of(&sealed_key(&to)) != 0 {
        to = SessionToken::generate();
    }
    let relocated = sessions.repository().relocate(
        &kept[1].token,
        &before.revision,
        &to,
        &kept[1].session,
        TTL,
    );
    assert!(matches!(
        relocated.await,
        Err(RepositoryError::Unavailable { .. })
    ));
    assert_eq!(sessions.repository().peek(&to).await.unwrap(), None);
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

/// Whatever becomes of the answer, one record stands: the old one or the new one.
#[rstest]
#[case::request_swallowed(Fault::SwallowRequests, false)]
#[case::answer_swallowed(Fault::SwallowAnswers, true)]
#[tokio::test]
async fn an_interrupted_rotation_is_unavailable_and_wholly_made_or_not(
    #[case] fault: Fault,
    #[case] is_made: bool,
) {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let faulty = settings(&format!("redis://{}", proxy.address()));
    let faulty = faulty.with_command_timeout(Duration::from_millis(200));
    let repository = connected_with(&faulty).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let before = seen(&repository, &new.token).await;
    let to = SessionToken::generate();
    proxy.set(fault);
    let relocated = repository.relocate(&new.token, &before.revision, &to, &new.session, TTL);
    assert!(matches!(
        relocated.await,
        Err(RepositoryError::Unavailable { .. })
    ));
    let standing = if is_made { &to } else { &new.token };
    assert_eq!(keys(&redis).await, [sealed_key(standing)]);
}

/// What an instance that stores plain records might have to look for elsewhere, it has not in a cluster.
#[tokio::test]
async fn with_a_primary_away_the_others_plain_sessions_are_rotated() {
    let mut cluster = RedisCluster::start_with(2, 0, &[]).await;
    let sessions = sessions_with(&plain(&cluster.url())).await;
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

/// The plain format has no room for it: what was sealed stays sealed.
#[tokio::test]
async fn an_end_that_was_fixed_stays_when_a_rolled_back_instance_rotates() {
    let redis = RedisProcess::start().await;
    let limited = SessionPolicy::new(TTL, Some(TTL)).unwrap();
    let sealing = connected_with(&settings(&redis.url())).await;
    let new = SessionManager::new(sealing, limited);
    let new = new.store(cookies(), base_url()).await.unwrap();
    assert!(new.session.absolute_end.is_some());
    let rolled_back = sessions_with(&plain(&redis.url())).await;
    let rotated = rolled_back.rotate(&new.token).await.unwrap();
    let read = rolled_back.get(&rotated.token).await.unwrap().session;
    assert_eq!(read.absolute_end, new.session.absolute_end);
}
