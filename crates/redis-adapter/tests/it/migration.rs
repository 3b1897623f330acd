//! Tests of the migration from plain to sealed (encrypted) records, and of a rollback. The original
//! Python service also uses plain records.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::interfaces::KeysInterface;
use rstest::rstest;
use tee_session_domain::{
    InsertOutcome, Login, Session, SessionError, SessionManager, SessionPolicy, SessionRepository,
    SessionToken, StoreClock,
};
use tee_session_redis_adapter::{RedisRepository, RedisSettings};
use tee_session_test_support::{RedisProcess, TestRedis};

use crate::{
    Sessions, assert_full_idle_timeout, base_url, connect_with, cookies, is_corrupt, plain_key,
    plain_sessions, plain_settings, sealed_key, sessions, sessions_with, settings,
};

async fn accepting_sessions(url: &str) -> Sessions {
    sessions_with(&settings(url).accepting_plain().unwrap()).await
}

#[tokio::test]
async fn access_encrypts_an_unencrypted_session_record_and_keeps_its_content() {
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
    assert_full_idle_timeout(&redis, &sealed_key(&created.token)).await;
    assert_eq!(
        new.get(&created.token).await.unwrap().session,
        created.session
    );
}

#[tokio::test]
async fn exists_and_ttl_calls_do_not_encrypt_an_unencrypted_record() {
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
async fn instances_with_encrypted_and_unencrypted_format_can_delete_each_others_sessions() {
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
async fn instance_rolled_back_to_the_unencrypted_format_reads_and_deletes_encrypted_records() {
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
async fn unencrypted_record_is_not_found_by_an_instance_that_accepts_only_encrypted_records() {
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
async fn corrupt_unencrypted_record_returns_an_error_and_is_not_encrypted() {
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
async fn encrypting_an_old_record_on_access_does_not_restart_its_absolute_lifetime() {
    let server = TestRedis::start().await;
    let token = SessionToken::generate();
    let created_at = StoreClock::from_system().now() - Duration::from_secs(50);
    let session = Session::new(Login::new(cookies(), base_url()), created_at, None);
    let minute = Duration::from_secs(60);
    let plain = connect_with(&plain_settings(server.url())).await;
    let inserted = plain.insert(&token, &session, minute).await.unwrap();
    assert_eq!(inserted, InsertOutcome::Inserted);

    let accepting = settings(server.url()).accepting_plain().unwrap();
    let policy = SessionPolicy::new(minute, Some(minute)).unwrap();
    let new = SessionManager::new(connect_with(&accepting).await, policy);
    new.get(&token).await.unwrap();
    let remaining = new.ttl(&token).await.unwrap().unwrap().ttl;
    assert!(remaining <= Duration::from_secs(10), "{remaining:?}");

    let old = SessionToken::generate();
    let session = Session {
        created_at: created_at - Duration::from_secs(11),
        ..session
    };
    let inserted = plain.insert(&old, &session, minute).await.unwrap();
    assert_eq!(inserted, InsertOutcome::Inserted);
    assert!(matches!(new.get(&old).await, Err(SessionError::NotFound)));
    assert_eq!(new.repository().load_with_ttl(&old).await.unwrap(), None);
}

/// Reads one session continuously on instances with the storage formats `plain` and `sealed` while
/// the record of the session is being sealed (encrypted). Every read finds the session until its
/// deletion is requested. No read finds the session after its deletion was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn session_is_found_while_its_record_is_being_encrypted_and_not_after_its_deletion() {
    let server = TestRedis::start().await;
    let old = Arc::new(plain_sessions(server.url()).await);
    let new = Arc::new(accepting_sessions(server.url()).await);
    for round in 0..60 {
        let created = old.store(cookies(), base_url()).await.unwrap();
        let (requested, acknowledged) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let readers: Vec<_> = [&old, &new, &old, &new]
            .into_iter()
            .map(|sessions| {
                let (sessions, token) = (Arc::clone(sessions), created.token.clone());
                let requested = Arc::clone(&requested);
                let acknowledged = Arc::clone(&acknowledged);
                tokio::spawn(async move {
                    for _ in 0..12 {
                        let was_deleted = acknowledged.load(Ordering::SeqCst);
                        match sessions.get(&token).await {
                            Ok(_) => assert!(!was_deleted, "a deleted session came back"),
                            Err(SessionError::NotFound) => {
                                let may_be_gone = requested.load(Ordering::SeqCst);
                                assert!(may_be_gone, "a session was not found");
                            }
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                })
            })
            .collect();
        // In early rounds, the session is deleted while its record is being sealed. In later
        // rounds, the session is deleted long after its record was sealed.
        tokio::time::sleep(Duration::from_micros(round * 50)).await;
        let sessions = if round % 2 == 0 { &old } else { &new };
        requested.store(true, Ordering::SeqCst);
        assert!(sessions.delete(&created.token).await.unwrap());
        acknowledged.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(!old.exists(&created.token).await.unwrap());
        assert!(!new.exists(&created.token).await.unwrap());
    }
}

#[tokio::test]
async fn accept_plain_setting_changes_nothing_for_an_instance_that_stores_unencrypted_records() {
    let server = TestRedis::start().await;
    let both = sessions_with(&plain_settings(server.url()).accepting_plain().unwrap()).await;
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

/// Looks up unknown sessions, so that the keys of both storage formats are read. The migration
/// moves a record from the plain key to the sealed key. If the sealed key were read first, a record
/// that is moved between the two reads would be found under neither key.
#[rstest]
#[case::sealing_plain_records(|url: &str| settings(url).accepting_plain().unwrap())]
#[case::writing_plain_records(plain_settings)]
#[tokio::test]
async fn look_up_reads_the_unencrypted_before_the_encrypted_record_on_the_same_connection(
    #[case] settings: fn(&str) -> RedisSettings,
) {
    const TTL: Duration = Duration::from_secs(60);
    let redis = RedisProcess::start().await;
    let repository = RedisRepository::connect_pool(&settings(&redis.url()), 3);
    let connected = repository.wait_until_connected(Duration::from_secs(5));
    connected.await.unwrap();
    let monitor = redis.monitor().await;
    let tokens: [_; 4] = std::array::from_fn(|_| SessionToken::generate());
    assert!(repository.load(&tokens[0]).await.unwrap().is_none());
    let touched = repository.load_and_touch(&tokens[1], TTL).await;
    assert!(touched.unwrap().is_none());
    let with_ttl = repository.load_with_ttl(&tokens[2]).await;
    assert!(with_ttl.unwrap().is_none());
    let for_update = repository.load_for_update(&tokens[3], None).await;
    assert!(for_update.unwrap().is_none());
    let commands = monitor.text().await;
    for token in &tokens {
        let first = |key: &str| commands.lines().position(|line| line.contains(key));
        let (plain, sealed) = (first(&plain_key(token)), first(&sealed_key(token)));
        assert!(plain.is_some() && plain < sealed, "{commands}");
        // MONITOR prints the address of the client in square brackets.
        let address = |line: Option<usize>| commands.lines().nth(line?)?.split(['[', ']']).nth(1);
        assert_eq!(address(plain), address(sealed), "{commands}");
    }
}
