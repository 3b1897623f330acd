//! Compare-and-swap on what stands in Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rstest::rstest;
use tee_session_domain::{
    NewSession, RepositoryError, RevisedSession, Session, SessionError, SessionPatch,
    SessionRepository, SwapOutcome, UpdateError,
};
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::time::sleep;

use crate::{
    Sessions, base_url, connected, connected_with, cookies,
    modes::{Mode, keys, number},
    plain_key, sealed_key, sessions, settings,
};

const TTL: Duration = Duration::from_secs(900);

fn changed(session: &Session, cookie: &str) -> Session {
    let patch = SessionPatch::default().set_cookie(cookie, "1");
    patch.apply(session).unwrap()
}

async fn seen(repository: &RedisRepository, new: &NewSession) -> RevisedSession {
    let seen = repository.fetch_revision(&new.token).await.unwrap();
    seen.expect("it lives")
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::moving(Mode::Moving)]
#[case::rolled_back(Mode::RolledBack)]
#[tokio::test]
async fn the_state_that_was_seen_is_replaced_where_it_stands(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.both(&redis.url()).await;
    let repository = changer.repository();
    let new = writer.store(cookies(), base_url()).await.unwrap();
    let first = seen(repository, &new).await;
    assert_eq!(first.session, new.session);
    let key = match mode {
        Mode::Plain => plain_key(&new.token),
        _ => sealed_key(&new.token),
    };
    assert_eq!(keys(&redis).await, [key.as_str()]);
    let next = changed(&new.session, "a");
    let swap = async |session: &Session| {
        let swapped = repository.compare_and_swap(&new.token, &first.revision, session, TTL);
        swapped.await.unwrap()
    };
    assert_eq!(swap(&next).await, SwapOutcome::Swapped);
    assert_eq!(
        swap(&changed(&new.session, "b")).await,
        SwapOutcome::Changed
    );
    assert_eq!(seen(repository, &new).await.session, next);
    assert_eq!(keys(&redis).await, [key.as_str()]);
    assert!((890..=900).contains(&number(&redis, &["TTL", &key]).await));
    let last = seen(repository, &new).await.revision;
    assert!(changer.delete(&new.token).await.unwrap());
    let swapped = repository.compare_and_swap(&new.token, &last, &next, TTL);
    assert_eq!(swapped.await.unwrap(), SwapOutcome::Gone);
    assert!(keys(&redis).await.is_empty(), "nothing comes back");
}

/// Neither does it slide, nor does it give an expiry to what has none.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::moving(Mode::Moving)]
#[case::rolled_back(Mode::RolledBack)]
#[tokio::test]
async fn reading_a_state_changes_nothing_of_its_life(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.both(&redis.url()).await;
    for (expiry, expected) in [(Some("100"), 90..=100), (None, -1..=-1)] {
        let new = writer.store(cookies(), base_url()).await.unwrap();
        let key = keys(&redis).await.remove(0);
        match expiry {
            Some(seconds) => redis.command(&["EXPIRE", &key, seconds]).await,
            None => redis.command(&["PERSIST", &key]).await,
        };
        seen(changer.repository(), &new).await;
        let key = keys(&redis).await.remove(0);
        let ttl = number(&redis, &["TTL", &key]).await;
        assert!(expected.contains(&ttl), "{ttl}");
        redis.command(&["FLUSHALL"]).await;
    }
}

/// It is alive, only elsewhere: whoever saw it plain looks again.
#[tokio::test]
async fn a_session_that_was_sealed_meanwhile_is_changed_and_not_gone() {
    let redis = RedisProcess::start().await;
    let (old, new) = Mode::Moving.both(&redis.url()).await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    let before = seen(old.repository(), &created).await;
    new.get(&created.token).await.unwrap();
    let next = changed(&before.session, "a");
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

/// Writers of every mode on one session that is being moved: each adds a cookie of its own, and all
/// are there. One that is logged out meanwhile stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_of_a_session_on_the_move_is_lost_and_none_undoes_a_logout() {
    let redis = RedisProcess::start().await;
    let (old, new) = Mode::Moving.both(&redis.url()).await;
    let fleet = [Arc::new(old), Arc::new(new)];
    for round in 0..30_u64 {
        let is_logged_out = round % 2 == 1;
        let created = fleet[0].store(cookies(), base_url()).await.unwrap();
        let answered = Arc::new(AtomicBool::new(false));
        let writers = (0..12).map(|n| {
            let (sessions, created) = (Arc::clone(&fleet[n % 2]), created.clone());
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let was_logged_out = answered.load(Ordering::SeqCst);
                let added = add_cookie(&sessions, &created, &format!("writer-{n}")).await;
                assert!(!(was_logged_out && added.is_ok()), "a logout was undone");
                added
            })
        });
        let writers: Vec<_> = writers.collect();
        if is_logged_out {
            sleep(Duration::from_micros(round * 100)).await;
            assert!(fleet[0].delete(&created.token).await.unwrap());
            answered.store(true, Ordering::SeqCst);
        }
        let mut added = 0;
        for writer in writers {
            added += usize::from(writer.await.unwrap().is_ok());
        }
        if is_logged_out {
            assert!(keys(&redis).await.is_empty());
        } else {
            let read = fleet[1].get(&created.token).await.unwrap().session;
            assert_eq!((added, read.cookies.len()), (12, 13));
            assert!(fleet[1].delete(&created.token).await.unwrap());
        }
    }
}

#[tokio::test]
async fn without_room_a_session_stays_as_it_was() {
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

/// Before the heartbeat has seen that it is none: its stale data is no answer.
#[tokio::test]
async fn a_server_that_has_become_a_replica_says_nothing_of_a_session() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let revision = seen(&repository, &new).await.revision;
    assert!(sessions.delete(&new.token).await.unwrap());
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let is_unavailable = |refused| matches!(refused, Err(RepositoryError::Unavailable { .. }));
    let (token, session) = (&new.token, &new.session);
    let fetched = repository.fetch_revision(token).await;
    assert!(is_unavailable(fetched.map(drop)));
    let swapped = repository.compare_and_swap(token, &revision, session, TTL);
    assert!(is_unavailable(swapped.await.map(drop)));
    let relocated = repository.relocate(token, &revision, token, session, TTL);
    assert!(is_unavailable(relocated.await.map(drop)));
}

/// Whatever becomes of the answer, the session is in the state before or in the one after.
#[rstest]
#[case::request_swallowed(Fault::SwallowRequests, false)]
#[case::answer_swallowed(Fault::SwallowAnswers, true)]
#[tokio::test]
async fn an_interrupted_update_is_unavailable_and_wholly_made_or_not(
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
    let before = seen(&repository, &new).await;
    let next = changed(&before.session, "a");
    proxy.set(fault);
    let swapped = repository.compare_and_swap(&new.token, &before.revision, &next, TTL);
    assert!(matches!(
        swapped.await,
        Err(RepositoryError::Unavailable { .. })
    ));
    let expected = if is_made { &next } else { &before.session };
    let read = sessions.get(&new.token).await.unwrap().session;
    assert_eq!(&read, expected);
    proxy.set(Fault::None);
    eventually(Duration::from_secs(5), async || {
        repository.fetch_revision(&new.token).await.is_ok()
    })
    .await;
    assert_eq!(&seen(&repository, &new).await.session, expected);
}
