//! Tests of error replies from Redis, and of the Redis permissions that the adapter needs.

use std::time::Duration;

use rstest::rstest;
use tee_session_domain::{
    RepositoryError, SessionError, SessionId, SessionPatch, SessionRepository,
};
use tee_session_redis_adapter::RedisSettings;
use tee_session_test_support::{RedisProcess, eventually};

use crate::{
    base_url, cookies,
    modes::{all_keys, list_all_ids, login_of, store_session_of},
    plain_settings, sessions, sessions_with, settings,
};

#[tokio::test]
async fn create_returns_a_store_full_error_but_get_and_delete_succeed_if_redis_is_out_of_memory() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let (kept, ended) = (
        sessions.store(cookies(), base_url()).await.unwrap(),
        sessions.store(cookies(), base_url()).await.unwrap(),
    );
    redis
        .command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = sessions.store(cookies(), base_url()).await.unwrap_err();
    assert!(
        matches!(
            error,
            SessionError::Repository(RepositoryError::Full { .. })
        ),
        "{error:?}"
    );
    sessions.get(&kept.token).await.unwrap();
    assert!(sessions.delete(&ended.token).await.unwrap());
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    sessions.store(cookies(), base_url()).await.unwrap();
}

#[rstest]
#[case::get("get", "GET")]
#[case::expire("expire", "EXPIRE")]
#[tokio::test]
async fn missing_redis_permission_returns_a_misconfigured_error_that_names_the_command(
    #[case] permission: &str,
    #[case] named: &str,
) {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis
        .command(&["ACL", "SETUSER", "default", &format!("-{permission}")])
        .await;
    let error = sessions.get(&new.token).await.unwrap_err();
    let SessionError::Repository(RepositoryError::Misconfigured { source }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        source.to_string(),
        format!("{named} was refused by Redis: NOPERM")
    );
}

#[tokio::test]
async fn sessions_can_be_stored_and_read_without_the_redis_permission_for_the_time_command() {
    let redis = RedisProcess::start().await;
    redis.command(&["ACL", "SETUSER", "default", "-time"]).await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    sessions.get(&new.token).await.unwrap();
}

#[tokio::test]
async fn session_is_not_found_after_flushall() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.command(&["FLUSHALL"]).await;
    let error = sessions.get(&new.token).await.unwrap_err();
    assert!(matches!(error, SessionError::NotFound), "{error:?}");
}

#[tokio::test]
async fn ping_fails_if_the_redis_user_lacks_the_permission_for_get_or_expire() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    sessions.repository().ping().await.unwrap();
    for permission in ["get", "expire"] {
        redis
            .command(&["ACL", "SETUSER", "default", &format!("-{permission}")])
            .await;
        assert!(sessions.repository().ping().await.is_err());
        redis
            .command(&["ACL", "SETUSER", "default", &format!("+{permission}")])
            .await;
    }
}

/// ACL rules of a Redis user with the minimum permissions, as listed in the README of this crate.
const MINIMAL_ACL: [&str; 12] = [
    "~session:*",
    "+get",
    "+mget",
    "+set",
    "+expire",
    "+pexpire",
    "+pttl",
    "+del",
    "+eval",
    "+time",
    "+info",
    "+select",
];

/// Additional ACL rules for sessions with a subject, as listed in the README of this crate. If the
/// records of such sessions are plain, the Redis user also needs `~session-id:*`.
const SUBJECTS_ACL: [&str; 8] = [
    "~subject:*",
    "+zadd",
    "+zrem",
    "+zscore",
    "+zrange",
    "+hset",
    "+hget",
    "+hdel",
];

/// Creates the Redis user `tee` with the password `s3cret` and the minimum permissions.
pub(crate) async fn add_minimal_user(redis: &RedisProcess) {
    let user = "ACL SETUSER tee on >s3cret resetkeys -@all";
    let user: Vec<_> = user.split(' ').chain(MINIMAL_ACL).collect();
    redis.command(&user).await;
}

/// Creates the Redis user `tee` with the password `s3cret` and all permissions that the README
/// lists for a single server.
pub(crate) async fn add_user_with_all_permissions(redis: &RedisProcess) {
    add_minimal_user(redis).await;
    let more = ["ACL", "SETUSER", "tee", "~session-id:*", "+client|tracking"];
    redis.command(&[&more[..], &SUBJECTS_ACL].concat()).await;
}

pub(crate) async fn assert_serves_every_operation(settings: &RedisSettings) {
    let sessions = sessions_with(settings).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    sessions.get(&new.token).await.unwrap();
    assert!(sessions.ttl(&new.token).await.unwrap().is_some());
    sessions.repository().ping().await.unwrap();
    assert!(sessions.delete(&new.token).await.unwrap());
}

#[tokio::test]
async fn session_operations_succeed_with_minimal_redis_permissions_for_session_keys_only() {
    let redis = RedisProcess::start().await;
    add_minimal_user(&redis).await;
    let url = format!("redis://tee:s3cret@127.0.0.1:{}/0", redis.port());
    // Without the permissions for MGET and EVAL, each look-up is sent as a single command. Only
    // updates and rotations need EVAL, so only these operations fail.
    let without = ["ACL", "SETUSER", "tee", "-mget", "-eval"];
    redis.command(&without).await;
    for settings in [settings(&url), plain_settings(&url)] {
        assert_serves_every_operation(&settings).await;
    }
    let strict = sessions_with(&settings(&url)).await;
    let created = strict.store(cookies(), base_url()).await.unwrap();
    assert!(strict.rotate(&created.token).await.is_err());
    let refused = strict.repository().check_permissions().await;
    assert!(
        matches!(refused, Err(RepositoryError::Misconfigured { .. })),
        "{refused:?}"
    );
    redis
        .command(&["ACL", "SETUSER", "tee", "+mget", "+eval"])
        .await;
    for settings in [settings(&url), plain_settings(&url)] {
        let sessions = sessions_with(&settings).await;
        let created = sessions.store(cookies(), base_url()).await.unwrap();
        let patch = SessionPatch::default().set_cookie("a", "1");
        let updated = sessions.update(&created.token, &patch, |_| true).await;
        updated.unwrap();
        sessions.rotate(&created.token).await.unwrap();
        sessions.repository().check_permissions().await.unwrap();
    }
    let moved = sessions_with(&plain_settings(&url)).await;
    let moved = moved.store(cookies(), base_url()).await.unwrap();
    let accepting = sessions_with(&settings(&url).accepting_plain().unwrap()).await;
    accepting.get(&moved.token).await.unwrap();
    let allowed = async |key: &str| {
        let tried = redis.command(&["ACL", "DRYRUN", "tee", "GET", key]).await;
        tried.as_string().unwrap() == "OK"
    };
    assert!(allowed("session:x").await);
    assert!(!allowed("another:x").await);
    let readme = include_str!("../../README.md");
    for permissions in [MINIMAL_ACL.join(" "), SUBJECTS_ACL.join(" ")] {
        assert!(
            readme.contains(&permissions),
            "the README must list {permissions}"
        );
    }
}

#[tokio::test]
async fn documented_redis_permissions_for_sessions_with_subject_are_necessary_and_sufficient() {
    let redis = RedisProcess::start().await;
    add_minimal_user(&redis).await;
    let url = format!("redis://tee:s3cret@127.0.0.1:{}/0", redis.port());
    let refused = sessions(&url).await.store_login(login_of("member")).await;
    assert!(matches!(
        refused,
        Err(SessionError::Repository(
            RepositoryError::Misconfigured { .. }
        ))
    ));
    let permit = ["ACL", "SETUSER", "tee"];
    redis.command(&[&permit[..], &SUBJECTS_ACL].concat()).await;
    for (settings, more) in [
        (settings(&url), None),
        (plain_settings(&url), Some("~session-id:*")),
    ] {
        if let Some(more) = more {
            redis.command(&[&permit[..], &[more]].concat()).await;
        }
        let (sessions, subject) = (sessions_with(&settings).await, "member".parse().unwrap());
        let one = store_session_of(&sessions, "member").await;
        let other = store_session_of(&sessions, "member").await;
        let rotated = sessions.rotate(&one.token).await.unwrap();
        sessions.get(&rotated.token).await.unwrap();
        assert_eq!(list_all_ids(&sessions, "member", 10).await.len(), 2);
        assert!(sessions.revoke(SessionId::of(&other.token)).await.unwrap());
        assert_eq!(sessions.revoke_all(&subject).await.unwrap(), 1);
        // Deleting a session removes its index entry in the background.
        let last = store_session_of(&sessions, "member").await;
        assert!(sessions.delete(&last.token).await.unwrap());
        eventually(Duration::from_secs(5), async || {
            all_keys(&redis)
                .await
                .iter()
                .all(|key| key.ends_with(":details"))
        })
        .await;
    }
}
