//! From the first service's records to plain ones of ours to sealed ones, and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::interfaces::KeysInterface;
use tee_session_domain::{SessionError, SessionRepository};
use tee_session_test_support::TestRedis;

use crate::{
    Sessions, assert_full_window, base_url, cookies, is_corrupt, plain, plain_key, plain_sessions,
    sealed_key, sessions, sessions_with, settings,
};

async fn accepting_sessions(url: &str) -> Sessions {
    sessions_with(&settings(url).accepting_plain().unwrap()).await
}

#[tokio::test]
async fn an_access_seals_a_plain_record_and_keeps_what_it_holds() {
    let server = TestRedis::start().await;
    let (old, new) = (
        plain_sessions(server.url()).await,
        accepting_sessions(server.url()).await,
    );
    let redis = server.client().await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    let active = new.get(&created.token).await.unwrap();
    assert_eq!(active.session, created.session);
    assert_eq!(
        redis
            .exists::<i64, _>(plain_key(&created.token))
            .await
            .unwrap(),
        0
    );
    assert_full_window(&redis, &sealed_key(&created.token)).await;
    assert_eq!(
        new.get(&created.token).await.unwrap().session,
        created.session
    );
}

#[tokio::test]
async fn asking_about_a_plain_record_leaves_it_where_it_is() {
    let server = TestRedis::start().await;
    let (old, new) = (
        plain_sessions(server.url()).await,
        accepting_sessions(server.url()).await,
    );
    let redis = server.client().await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    assert!(new.exists(&created.token).await.unwrap());
    assert!(new.ttl(&created.token).await.unwrap().is_some());
    assert_eq!(
        redis
            .exists::<i64, _>(plain_key(&created.token))
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn each_side_deletes_what_the_other_wrote() {
    let server = TestRedis::start().await;
    let (old, new) = (
        plain_sessions(server.url()).await,
        accepting_sessions(server.url()).await,
    );
    let of_old = old.store(cookies(), base_url()).await.unwrap();
    assert!(new.delete(&of_old.token).await.unwrap());
    assert!(matches!(
        old.get(&of_old.token).await,
        Err(SessionError::NotFound)
    ));
    let of_new = new.store(cookies(), base_url()).await.unwrap();
    assert!(old.delete(&of_new.token).await.unwrap());
    assert!(matches!(
        new.get(&of_new.token).await,
        Err(SessionError::NotFound)
    ));
}

#[tokio::test]
async fn an_instance_rolled_back_to_plain_reads_sealed_records() {
    let server = TestRedis::start().await;
    let (old, new) = (
        plain_sessions(server.url()).await,
        sessions(server.url()).await,
    );
    let created = new.store(cookies(), base_url()).await.unwrap();
    assert_eq!(
        old.get(&created.token).await.unwrap().session,
        created.session
    );
    assert!(old.exists(&created.token).await.unwrap());
    assert!(old.delete(&created.token).await.unwrap());
}

#[tokio::test]
async fn without_accepting_plain_a_plain_record_is_not_found() {
    let server = TestRedis::start().await;
    let (old, new) = (
        plain_sessions(server.url()).await,
        sessions(server.url()).await,
    );
    let created = old.store(cookies(), base_url()).await.unwrap();
    assert!(matches!(
        new.get(&created.token).await,
        Err(SessionError::NotFound)
    ));
    assert!(!new.delete(&created.token).await.unwrap());
    old.get(&created.token).await.unwrap();
}

#[tokio::test]
async fn a_corrupt_plain_record_is_not_sealed() {
    let server = TestRedis::start().await;
    let (old, new) = (
        plain_sessions(server.url()).await,
        accepting_sessions(server.url()).await,
    );
    let redis = server.client().await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    let key = plain_key(&created.token);
    redis
        .set::<(), _, _>(&key, "garbage", None, None, false)
        .await
        .unwrap();
    assert!(is_corrupt(new.get(&created.token).await));
    assert_eq!(redis.get::<String, _>(&key).await.unwrap(), "garbage");
    assert_eq!(
        redis
            .exists::<i64, _>(sealed_key(&created.token))
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn the_absolute_lifetime_counts_from_the_creation_of_the_plain_record() {
    let server = TestRedis::start().await;
    let policy = tee_session_domain::SessionPolicy::new(
        Duration::from_secs(60),
        Some(Duration::from_secs(2)),
    );
    let old = plain_sessions(server.url()).await;
    let created = old.store(cookies(), base_url()).await.unwrap();
    let accepting = settings(server.url()).accepting_plain().unwrap();
    let new = tee_session_domain::SessionManager::new(
        crate::connected_with(&accepting).await,
        policy.unwrap(),
    );
    new.get(&created.token).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(matches!(
        new.get(&created.token).await,
        Err(SessionError::NotFound)
    ));
    assert_eq!(new.repository().peek(&created.token).await.unwrap(), None);
}

/// One session, accessed by instances of both kinds all the time while it moves: nobody ever
/// misses it, and its logout is final.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_access_misses_a_session_on_the_move_and_no_move_undoes_a_logout() {
    let server = TestRedis::start().await;
    let old = Arc::new(plain_sessions(server.url()).await);
    let new = Arc::new(accepting_sessions(server.url()).await);
    for round in 0..60 {
        let created = old.store(cookies(), base_url()).await.unwrap();
        let (asked, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let readers: Vec<_> = [&old, &new, &old, &new]
            .into_iter()
            .map(|sessions| {
                let (sessions, token) = (Arc::clone(sessions), created.token.clone());
                let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
                tokio::spawn(async move {
                    for _ in 0..12 {
                        let was_logged_out = answered.load(Ordering::SeqCst);
                        match sessions.get(&token).await {
                            Ok(_) => assert!(!was_logged_out, "a logout was undone"),
                            Err(SessionError::NotFound) => {
                                assert!(asked.load(Ordering::SeqCst), "a session was missed");
                            }
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                })
            })
            .collect();
        // Sometimes early, in the middle of the move; sometimes when it is long over.
        tokio::time::sleep(Duration::from_micros(round * 50)).await;
        let sessions = if round % 2 == 0 { &old } else { &new };
        asked.store(true, Ordering::SeqCst);
        assert!(sessions.delete(&created.token).await.unwrap());
        answered.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(!old.exists(&created.token).await.unwrap());
        assert!(!new.exists(&created.token).await.unwrap());
    }
}

#[tokio::test]
async fn accepting_plain_records_on_an_instance_set_to_plain_changes_nothing() {
    let server = TestRedis::start().await;
    let both = sessions_with(&plain(server.url()).accepting_plain().unwrap()).await;
    let redis = server.client().await;
    let created = both.store(cookies(), base_url()).await.unwrap();
    both.get(&created.token).await.unwrap();
    assert_eq!(
        redis
            .exists::<i64, _>(plain_key(&created.token))
            .await
            .unwrap(),
        1
    );
}
