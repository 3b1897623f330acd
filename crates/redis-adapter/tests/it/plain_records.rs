//! Tests of plain (unencrypted) session records in Redis, and of invalid values that are stored
//! under the key of a session.

use std::time::Duration;

use fred::{
    interfaces::{HashesInterface, KeysInterface, ListInterface},
    types::{Expiration, Value},
};
use rstest::rstest;
use tee_session_domain::{InsertOutcome, SessionRepository, SessionToken};
use tee_session_test_support::{CapturedLogs, TestRedis};

use crate::{
    assert_corrupt_everywhere, assert_full_idle_timeout, base_url, cookies, plain_key,
    plain_sessions,
};

#[tokio::test]
async fn exists_and_ttl_calls_do_not_renew_the_ttl_of_an_unencrypted_record() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis
        .expire::<(), _>(plain_key(&new.token), 100, None)
        .await
        .unwrap();
    assert!(sessions.exists(&new.token).await.unwrap());
    let remaining = sessions.ttl(&new.token).await.unwrap().unwrap();
    assert!(remaining.ttl <= Duration::from_secs(100), "{remaining:?}");
    assert!(redis.ttl::<i64, _>(plain_key(&new.token)).await.unwrap() <= 100);
}

#[tokio::test]
async fn access_to_an_unencrypted_record_without_expiry_sets_its_ttl_to_the_idle_timeout() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.persist::<(), _>(plain_key(&new.token)).await.unwrap();
    assert_eq!(
        redis.ttl::<i64, _>(plain_key(&new.token)).await.unwrap(),
        -1
    );
    assert!(sessions.exists(&new.token).await.unwrap());
    sessions.get(&new.token).await.unwrap();
    assert_full_idle_timeout(&redis, &plain_key(&new.token)).await;
}

#[rstest]
#[case::text_without_json(b"garbage")]
#[case::empty_value(b"")]
#[case::truncated_json(br#"{"cookies": {"a": "#)]
#[case::wrong_member_types(
    br#"{"cookies": {"a": 1}, "base_url": "x", "created_at": "2026-01-15T10:30:00Z"}"#
)]
#[case::line_feed_in_a_cookie(
    br#"{"cookies": {"a": "x\ny"}, "base_url": "x", "created_at": "2026-01-15T10:30:00Z"}"#
)]
#[case::binary_data(b"\xff\x00\x80")]
#[tokio::test]
async fn corrupt_unencrypted_record_returns_a_corrupt_record_error_and_is_not_changed(
    #[case] record: &'static [u8],
) {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let token = SessionToken::generate();
    let lifetime = Some(Expiration::EX(500));
    redis
        .set::<(), _, _>(plain_key(&token), record, lifetime, None, false)
        .await
        .unwrap();
    let logs = CapturedLogs::start();
    assert_corrupt_everywhere(&sessions, &token).await;
    assert_eq!(
        redis.get::<Vec<u8>, _>(plain_key(&token)).await.unwrap(),
        record
    );
    let errors = logs.events("Session record is corrupt");
    assert_eq!(errors.len(), 4, "{}", logs.text());
    for error in errors {
        assert!(error.contains(r#""level":"ERROR""#), "{error}");
        assert!(error.contains(&token.prefix().to_string()), "{error}");
        assert!(!error.contains(token.expose_secret()), "{error}");
    }
}

#[tokio::test]
async fn non_string_value_under_the_key_of_an_unencrypted_record_is_corrupt_and_gets_no_expiry() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let (list, hash) = (SessionToken::generate(), SessionToken::generate());
    redis
        .lpush::<(), _, _>(plain_key(&list), "x")
        .await
        .unwrap();
    redis
        .hset::<(), _, _>(plain_key(&hash), ("field", "value"))
        .await
        .unwrap();
    assert_corrupt_everywhere(&sessions, &list).await;
    assert_corrupt_everywhere(&sessions, &hash).await;
    assert_eq!(
        redis
            .lrange::<Vec<String>, _>(plain_key(&list), 0, -1)
            .await
            .unwrap(),
        ["x"]
    );
    assert_eq!(
        redis
            .hget::<String, _, _>(plain_key(&hash), "field")
            .await
            .unwrap(),
        "value"
    );
    for token in [&list, &hash] {
        assert_eq!(
            redis.ttl::<i64, _>(plain_key(token)).await.unwrap(),
            -1,
            "an expiry would delete foreign data"
        );
    }
}

#[tokio::test]
async fn storing_a_session_under_an_existing_key_returns_token_taken_and_keeps_the_old_value() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (plain_sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let token = SessionToken::generate();
    redis
        .set::<(), _, _>(plain_key(&token), "foreign", None, None, false)
        .await
        .unwrap();
    let outcome = sessions
        .repository()
        .insert(&token, &new.session, Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(outcome, InsertOutcome::TokenTaken);
    assert_eq!(
        redis
            .get::<Value, _>(plain_key(&token))
            .await
            .unwrap()
            .as_str()
            .unwrap(),
        "foreign"
    );
}
