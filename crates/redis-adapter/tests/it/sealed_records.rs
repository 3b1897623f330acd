//! Tests of sealed (encrypted) records in Redis, and of invalid values that are stored under the
//! key of a session.

use std::sync::Arc;

use fred::{
    clients::Client,
    interfaces::{KeysInterface, ListInterface},
    types::{Expiration, SetOptions},
};
use rstest::rstest;
use tee_session_domain::{Cookies, RepositoryError, SessionError, SessionToken};
use tee_session_redis_adapter::StorageFormat;
use tee_session_test_support::{CapturedLogs, RedisProcess, TestRedis};

use crate::{
    assert_corrupt_everywhere, assert_full_idle_timeout, base_url, cookies, plain_key, sealed_key,
    sessions, sessions_with, settings,
};

async fn replace_record(redis: &Client, token: &SessionToken, value: Vec<u8>) {
    let keep = Some(Expiration::KEEPTTL);
    let exists = Some(SetOptions::XX);
    redis
        .set::<(), _, _>(sealed_key(token), value.as_slice(), keep, exists, false)
        .await
        .unwrap();
}

async fn read_record(redis: &Client, token: &SessionToken) -> Vec<u8> {
    redis.get(sealed_key(token)).await.unwrap()
}

#[tokio::test]
async fn encrypted_record_is_stored_only_under_the_session_id_with_the_idle_timeout_as_its_ttl() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    assert_full_idle_timeout(&redis, &sealed_key(&new.token)).await;
    assert_eq!(&read_record(&redis, &new.token).await[..3], b"TS\x01");
    assert_eq!(
        redis.exists::<i64, _>(plain_key(&new.token)).await.unwrap(),
        0
    );
}

#[rstest]
#[case::text_without_header(b"garbage")]
#[case::empty_value(b"")]
#[case::header_only(b"TS\x01")]
#[case::plain_json(br#"{"cookies": {}, "base_url": "x", "created_at": "2026-01-15T10:30:00Z"}"#)]
#[tokio::test]
async fn corrupt_encrypted_record_returns_a_corrupt_record_error_and_is_not_changed(
    #[case] record: &'static [u8],
) {
    let server = TestRedis::start().await;
    let (sessions, redis) = (sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    replace_record(&redis, &new.token, record.to_vec()).await;
    let logs = CapturedLogs::start();
    assert_corrupt_everywhere(&sessions, &new.token).await;
    assert_eq!(read_record(&redis, &new.token).await, record);
    assert_eq!(logs.events("Session record is corrupt").len(), 4);
    assert!(!logs.text().contains(new.token.expose_secret()));
}

#[tokio::test]
async fn encrypted_record_of_another_session_or_with_a_flipped_bit_is_rejected_as_corrupt() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (sessions(server.url()).await, server.client().await);
    let one = sessions.store(cookies(), base_url()).await.unwrap();
    let other = sessions.store(cookies(), base_url()).await.unwrap();
    let mut record = read_record(&redis, &one.token).await;
    replace_record(&redis, &other.token, record.clone()).await;
    assert_corrupt_everywhere(&sessions, &other.token).await;
    record[20] ^= 1;
    replace_record(&redis, &one.token, record).await;
    assert_corrupt_everywhere(&sessions, &one.token).await;
}

#[tokio::test]
async fn record_of_a_newer_release_returns_a_newer_record_error_and_is_not_changed() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (sessions(server.url()).await, server.client().await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let mut record = read_record(&redis, &new.token).await;
    record[2] = 3;
    replace_record(&redis, &new.token, record.clone()).await;
    let is_newer = |error: SessionError| {
        matches!(
            error,
            SessionError::Repository(RepositoryError::NewerRecord { .. })
        )
    };
    assert!(is_newer(sessions.get(&new.token).await.unwrap_err()));
    assert!(is_newer(sessions.exists(&new.token).await.unwrap_err()));
    assert!(is_newer(sessions.delete(&new.token).await.unwrap_err()));
    assert_eq!(read_record(&redis, &new.token).await, record);
    // Other sessions are not affected.
    let another = sessions.store(cookies(), base_url()).await.unwrap();
    sessions.get(&another.token).await.unwrap();
}

#[tokio::test]
async fn non_string_value_under_the_key_of_an_encrypted_record_is_corrupt_and_gets_no_expiry() {
    let server = TestRedis::start().await;
    let (sessions, redis) = (sessions(server.url()).await, server.client().await);
    let token = SessionToken::generate();
    redis
        .lpush::<(), _, _>(sealed_key(&token), "x")
        .await
        .unwrap();
    assert_corrupt_everywhere(&sessions, &token).await;
    assert_eq!(
        redis
            .lrange::<Vec<String>, _>(sealed_key(&token), 0, -1)
            .await
            .unwrap(),
        ["x"]
    );
    assert_eq!(redis.ttl::<i64, _>(sealed_key(&token)).await.unwrap(), -1);
}

/// Stores and accesses sessions with eight concurrent clients. Then searches the database file of
/// Redis, and the commands that Redis received, for tokens, cookies and URLs. Returns the secrets
/// that were found. The database file is not compressed, so that no secret in the file is missed.
async fn find_leaked_secrets(format: StorageFormat) -> Vec<String> {
    const UNCOMPRESSED_DUMP: [&str; 4] = ["--save", "", "--rdbcompression", "no"];
    let redis = RedisProcess::start_with(&UNCOMPRESSED_DUMP).await;
    let monitor = redis.monitor().await;
    let settings = settings(&redis.url()).with_storage_format(format);
    let sessions = Arc::new(sessions_with(&settings).await);
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let sessions = Arc::clone(&sessions);
            tokio::spawn(async move {
                let mut secrets = Vec::new();
                for n in 0..25 {
                    let value = format!("cookie-of-{client}-{n}");
                    let cookies = Cookies::new([("SESSIONID".to_owned(), value.clone())]);
                    let new = sessions.store(cookies.unwrap(), base_url()).await.unwrap();
                    sessions.get(&new.token).await.unwrap();
                    sessions.ttl(&new.token).await.unwrap();
                    if n % 2 == 0 {
                        sessions.delete(&new.token).await.unwrap();
                    }
                    let _ = sessions.get(&SessionToken::generate()).await;
                    secrets.extend([value, new.token.expose_secret().to_owned()]);
                }
                secrets
            })
        })
        .collect();
    let mut secrets = vec!["SESSIONID".to_owned(), "golf.example".to_owned()];
    for client in clients {
        secrets.extend(client.await.unwrap());
    }
    redis.command(&["SAVE"]).await;
    let (dump, commands) = (redis.dump(), monitor.text().await);
    assert!(dump.len() > 5_000, "the dump contains sessions");
    assert!(commands.contains("SET") && commands.contains("DEL"));
    let is_leaked = |secret: &String| {
        let mut dumped = dump.windows(secret.len());
        dumped.any(|bytes| bytes == secret.as_bytes()) || commands.contains(secret)
    };
    secrets.retain(is_leaked);
    secrets
}

#[tokio::test]
async fn redis_database_file_and_commands_contain_no_token_cookie_or_url_of_encrypted_sessions() {
    assert_eq!(find_leaked_secrets(StorageFormat::Sealed).await, [""; 0]);
    // With plain records, the search finds all secrets, so the search works.
    assert_eq!(
        find_leaked_secrets(StorageFormat::Plain).await.len(),
        2 + 8 * 25 * 2
    );
}
