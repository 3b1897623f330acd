//! Tests of compare-and-swap updates of session records in Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rstest::rstest;
use tee_session_domain::{
    NewSession, RepositoryError, Session, SessionError, SessionPatch, SessionRepository,
    SwapOutcome, UpdateError, VersionedSession,
};
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::time::sleep;

use crate::{
    Sessions, base_url, connect, connect_with, cookies,
    modes::{Mode, all_keys, integer_reply},
    plain_key, sealed_key, sessions, settings,
};

const TTL: Duration = Duration::from_secs(900);

/// Returns the session with an additional cookie named `cookie`.
fn with_cookie(session: &Session, cookie: &str) -> Session {
    let patch = SessionPatch::default().set_cookie(cookie, "1");
    patch.apply(session).unwrap()
}

async fn load_versioned(repository: &RedisRepository, new: &NewSession) -> VersionedSession {
    let session = repository.load_for_update(&new.token, None).await.unwrap();
    session.expect("a live session")
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[case::sealed_record_after_rollback(Mode::RolledBack)]
#[tokio::test]
async fn compare_and_swap_replaces_a_session_only_if_it_is_unchanged_since_it_was_read(
    #[case] mode: Mode,
) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.start_both(&redis.url()).await;
    let repository = changer.repository();
    let new = writer.store(cookies(), base_url()).await.unwrap();
    let first = load_versioned(repository, &new).await;
    assert_eq!(first.session, new.session);
    let key = match mode {
        Mode::Plain => plain_key(&new.token),
        _ => sealed_key(&new.token),
    };
    assert_eq!(all_keys(&redis).await, [key.as_str()]);
    let next = with_cookie(&new.session, "a");
    let swap = async |session: &Session| {
        let swapped = repository.compare_and_swap(&new.token, &first.revision, session, TTL);
        swapped.await.unwrap()
    };
    assert_eq!(swap(&next).await, SwapOutcome::Swapped);
    assert_eq!(
        swap(&with_cookie(&new.session, "b")).await,
        SwapOutcome::Changed
    );
    assert_eq!(load_versioned(repository, &new).await.session, next);
    assert_eq!(all_keys(&redis).await, [key.as_str()]);
    assert!((890..=900).contains(&integer_reply(&redis, &["TTL", &key]).await));
    let last = load_versioned(repository, &new).await.revision;
    assert!(changer.delete(&new.token).await.unwrap());
    let swapped = repository.compare_and_swap(&new.token, &last, &next, TTL);
    assert_eq!(swapped.await.unwrap(), SwapOutcome::Gone);
    assert!(
        all_keys(&redis).await.is_empty(),
        "the session must not be restored"
    );
}

/// Loads a session for an update in two cases: the key of the record has a TTL of 100 s, or the key
/// has no expiry. In both cases, the load does not change the expiry.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[case::sealed_record_after_rollback(Mode::RolledBack)]
#[tokio::test]
async fn loading_a_session_for_an_update_does_not_change_its_ttl(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.start_both(&redis.url()).await;
    for (expiry, expected) in [(Some("100"), 90..=100), (None, -1..=-1)] {
        let new = writer.store(cookies(), base_url()).await.unwrap();
        let key = all_keys(&redis).await.remove(0);
        match expiry {
            Some(seconds) => redis.command(&["EXPIRE", &key, seconds]).await,
            None => redis.command(&["PERSIST", &key]).await,
        };
        load_versioned(changer.repository(), &new).await;
        let key = all_keys(&redis).await.remove(0);
        let ttl = integer_reply(&redis, &["TTL", &key]).await;
        assert!(expected.contains(&ttl), "{ttl}");
        redis.command(&["FLUSHALL"]).await;
    }
}

/// Seals (encrypts) a plain record after an update has read the record. The update then returns
/// `Changed` and not `Gone`, so that the caller of the update reads the session again.
#[tokio::test]
async fn update_returns_outcome_changed_if_the_record_was_encrypted_since_it_was_read() {
    let redis = RedisProcess::start().await;
    let (old, new) = Mode::SealOnAccess.start_both(&redis.url()).await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    let before = load_versioned(old.repository(), &created).await;
    new.get(&created.token).await.unwrap();
    let next = with_cookie(&before.session, "a");
    let swapped = old
        .repository()
        .compare_and_swap(&created.token, &before.revision, &next, TTL);
    assert_eq!(swapped.await.unwrap(), SwapOutcome::Changed);
    let patch = SessionPatch::default().set_cookie("a", "1");
    old.update(&created.token, &patch, |_| true).await.unwrap();
    let read = new.get(&created.token).await.unwrap().session;
    assert_eq!(read, next);
}

async fn add_cookie(sessions: &Sessions, new: &NewSession, cookie: &str) -> Result<(), ()> {
    let patch = SessionPatch::default().set_cookie(cookie, "1");
    loop {
        match sessions.update(&new.token, &patch, |_| true).await {
            Ok(_) => return Ok(()),
            Err(UpdateError::Session(SessionError::NotFound)) => return Err(()),
            Err(UpdateError::Session(SessionError::Contended)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Updates one session on two instances while the record of the session is being sealed
/// (encrypted). Each of 12 writers adds a cookie, and all 12 cookies must be stored. In every
/// second round the session is also deleted, and no writer may restore the deleted session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_while_a_plain_record_is_encrypted_lose_no_cookie_and_restore_no_deleted_session() {
    let redis = RedisProcess::start().await;
    let (old, new) = Mode::SealOnAccess.start_both(&redis.url()).await;
    let fleet = [Arc::new(old), Arc::new(new)];
    for round in 0..30_u64 {
        let is_deleted_in_round = round % 2 == 1;
        let created = fleet[0].store(cookies(), base_url()).await.unwrap();
        let delete_acknowledged = Arc::new(AtomicBool::new(false));
        let writers = (0..12).map(|n| {
            let (sessions, created) = (Arc::clone(&fleet[n % 2]), created.clone());
            let delete_acknowledged = Arc::clone(&delete_acknowledged);
            tokio::spawn(async move {
                let was_deleted = delete_acknowledged.load(Ordering::SeqCst);
                let added = add_cookie(&sessions, &created, &format!("writer-{n}")).await;
                assert!(
                    !(was_deleted && added.is_ok()),
                    "a deleted session came back"
                );
                added
            })
        });
        let writers: Vec<_> = writers.collect();
        if is_deleted_in_round {
            sleep(Duration::from_micros(round * 100)).await;
            assert!(fleet[0].delete(&created.token).await.unwrap());
            delete_acknowledged.store(true, Ordering::SeqCst);
        }
        let mut added = 0;
        for writer in writers {
            added += usize::from(writer.await.unwrap().is_ok());
        }
        if is_deleted_in_round {
            assert!(all_keys(&redis).await.is_empty());
        } else {
            let read = fleet[1].get(&created.token).await.unwrap().session;
            assert_eq!((added, read.cookies.len()), (12, 13));
            assert!(fleet[1].delete(&created.token).await.unwrap());
        }
    }
}

#[tokio::test]
async fn update_and_rotation_return_store_full_and_change_nothing_when_redis_is_out_of_memory() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, |_| true).await;
    assert!(matches!(
        updated,
        Err(UpdateError::Session(SessionError::Repository(
            RepositoryError::Full { .. }
        )))
    ));
    assert!(matches!(
        sessions.rotate(&new.token).await,
        Err(SessionError::Repository(RepositoryError::Full { .. }))
    ));
    let read = sessions.get(&new.token).await.unwrap().session;
    assert_eq!(read, new.session);
}

/// Makes the server a replica while the connections stay open, and then calls the update
/// operations. Each call returns `Unavailable`, because the data of a replica may be stale.
#[tokio::test]
async fn session_updates_return_unavailable_after_the_redis_server_became_a_replica() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let revision = load_versioned(&repository, &new).await.revision;
    assert!(sessions.delete(&new.token).await.unwrap());
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let is_unavailable = |refused| matches!(refused, Err(RepositoryError::Unavailable { .. }));
    let (token, session) = (&new.token, &new.session);
    for touch in [None, Some(TTL)] {
        let loaded = repository.load_for_update(token, touch).await;
        assert!(is_unavailable(loaded.map(drop)));
    }
    let swapped = repository.compare_and_swap(token, &revision, session, TTL);
    assert!(is_unavailable(swapped.await.map(drop)));
    let moved = repository.move_to_new_token(token, &revision, token, session, TTL);
    assert!(is_unavailable(moved.await.map(drop)));
}

/// Drops either the request or the reply of an update, so that the caller gets `Unavailable`. If
/// the request was dropped, the session is unchanged. If the reply was dropped, the session has the
/// new state.
#[rstest]
#[case::request_dropped(Fault::SwallowRequests, false)]
#[case::reply_dropped(Fault::SwallowAnswers, true)]
#[tokio::test]
async fn session_update_with_a_lost_request_or_reply_is_either_complete_or_not_applied(
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
    let before = load_versioned(&repository, &new).await;
    let next = with_cookie(&before.session, "a");
    proxy.set(fault);
    let swapped = repository.compare_and_swap(&new.token, &before.revision, &next, TTL);
    assert!(matches!(
        swapped.await,
        Err(RepositoryError::Unavailable { .. })
    ));
    let expected = if is_applied { &next } else { &before.session };
    let read = sessions.get(&new.token).await.unwrap().session;
    assert_eq!(&read, expected);
    proxy.set(Fault::None);
    eventually(Duration::from_secs(5), async || {
        repository.load_for_update(&new.token, None).await.is_ok()
    })
    .await;
    assert_eq!(&load_versioned(&repository, &new).await.session, expected);
}
