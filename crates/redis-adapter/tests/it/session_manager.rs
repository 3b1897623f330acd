//! Tests of the session manager on Redis: the ten test cases of the original design, under the
//! names that the design gives.

use std::time::Duration;

use fred::interfaces::KeysInterface;
use tee_session_domain::{SessionError, SessionManager, SessionPolicy, SessionToken};
use tee_session_test_support::TestRedis;

use crate::{
    assert_full_idle_timeout, base_url, connect_with, cookies, plain_key, plain_sessions,
    plain_settings,
};

#[tokio::test]
async fn store_session_returns_uuid_token() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let parts: Vec<_> = new.token.expose_secret().split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
}

#[tokio::test]
async fn store_session_saves_correct_data() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let record: String = redis.get(plain_key(&new.token)).await.unwrap();
    let before_time = record
        .strip_suffix("+00:00\"}")
        .unwrap()
        .rsplit_once('"')
        .unwrap()
        .0;
    assert_eq!(
        before_time,
        r#"{"cookies": {"SESSIONID": "a1b2c3"}, "base_url": "https://golf.example/members", "created_at": "#
    );
    assert_full_idle_timeout(&redis, &plain_key(&new.token)).await;
}

#[tokio::test]
async fn get_session_returns_stored_data() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let active = sessions.get(&new.token).await.unwrap();
    assert_eq!(active.session.cookies, cookies());
    assert_eq!(active.session.base_url, base_url());
    assert_eq!(active.session.created_at, new.session.created_at);
}

#[tokio::test]
async fn get_session_refreshes_ttl() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis
        .expire::<(), _>(plain_key(&new.token), 100, None)
        .await
        .unwrap();
    sessions.get(&new.token).await.unwrap();
    assert_full_idle_timeout(&redis, &plain_key(&new.token)).await;
}

#[tokio::test]
async fn get_session_raises_not_found_for_invalid_token() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let error = sessions.get(&SessionToken::generate()).await.unwrap_err();
    assert!(matches!(error, SessionError::NotFound), "{error:?}");
}

#[tokio::test]
async fn get_session_raises_not_found_for_expired_session() {
    let server = TestRedis::start().await;
    let policy = SessionPolicy::new(Duration::from_secs(1), None).unwrap();
    let sessions = SessionManager::new(connect_with(&plain_settings(server.url())).await, policy);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let error = sessions.get(&new.token).await.unwrap_err();
    assert!(matches!(error, SessionError::NotFound), "{error:?}");
}

#[tokio::test]
async fn delete_session_removes_session() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    assert!(sessions.delete(&new.token).await.unwrap());
    assert_eq!(
        redis.exists::<i64, _>(plain_key(&new.token)).await.unwrap(),
        0
    );
}

#[tokio::test]
async fn delete_session_returns_false_for_nonexistent() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    assert!(!sessions.delete(&SessionToken::generate()).await.unwrap());
}

/// A token is valid if a session is stored under the token.
#[tokio::test]
async fn session_exists_returns_true_for_valid() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    assert!(sessions.exists(&new.token).await.unwrap());
}

/// A token is invalid if no session is stored under the token.
#[tokio::test]
async fn session_exists_returns_false_for_invalid() {
    let server = TestRedis::start().await;
    let sessions = plain_sessions(server.url()).await;
    assert!(!sessions.exists(&SessionToken::generate()).await.unwrap());
}
