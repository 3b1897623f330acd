//! Tests of a subject index (the sessions of one subject) into which another program has written
//! invalid data.

use rstest::rstest;
use tee_session_domain::{ErrorChain, RepositoryError, SessionError, SessionId};
use tee_session_test_support::RedisProcess;

use crate::{
    modes::{all_keys, list_all_ids, login_of, store_session_of},
    plain_settings, sessions, sessions_with,
    subjects::{KEYS, MEMBER, member},
};

/// Asserts that `result` is a `CorruptIndex` error that names the keys of the index.
fn assert_corrupt_index<T>(result: Result<T, SessionError>) {
    let Err(error) = result else {
        panic!("the call succeeded");
    };
    let text = ErrorChain(&error).to_string();
    assert!(
        text.ends_with("subject:{3dc67af763f1e8180163a3799aa3149c}:*"),
        "{text}"
    );
    let is_corrupt = matches!(
        error,
        SessionError::Repository(RepositoryError::CorruptIndex { .. })
    );
    assert!(is_corrupt, "{text}");
}

/// An operation on the sessions of a subject.
#[derive(Clone, Copy)]
enum Operation {
    Login,
    Rotation,
    Revocation,
    List,
}

/// Damages the index of one subject with a script, as another program could. Only calls for this
/// subject fail. The connection stays open, because other requests share it.
#[rstest]
#[case::member_is_not_text(r"redis.call('ZADD', order, 1, '\255\254')", &[Operation::List, Operation::Revocation])]
#[case::revocation_is_not_a_number(
    "redis.call('HSET', details, 'revoked', 'abc')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[case::revocation_is_infinite(
    "redis.call('HSET', details, 'revoked', 'inf')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[case::revocation_is_too_high(
    "redis.call('HSET', details, 'revoked', '1e300')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[case::revocation_has_an_exponent(
    "redis.call('HSET', details, 'revoked', '1e5')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[case::revocation_is_hexadecimal(
    "redis.call('HSET', details, 'revoked', '0x10')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[case::revocation_has_a_fraction(
    "redis.call('HSET', details, 'revoked', '1.5')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[case::revocation_is_empty(
    "redis.call('HSET', details, 'revoked', '')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[case::position_is_infinite(
    "redis.call('ZADD', order, 'inf', 'foreign')",
    &[Operation::Login, Operation::Rotation, Operation::Revocation]
)]
#[tokio::test]
async fn operation_on_a_corrupt_subject_index_returns_an_error_and_keeps_the_connection_open(
    #[case] damage: &str,
    #[case] failing: &[Operation],
) {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let own = store_session_of(&sessions, MEMBER).await;
    let script = format!("local details, order = KEYS[1], KEYS[2] {damage} return 1");
    redis
        .command(&["EVAL", &script, "2", KEYS[0], KEYS[2]])
        .await;
    let connections = connections_received(&redis).await;
    for operation in failing {
        match operation {
            Operation::Login => assert_corrupt_index(sessions.store_login(login_of(MEMBER)).await),
            Operation::Rotation => assert_corrupt_index(sessions.rotate(&own.token).await),
            Operation::Revocation => assert_corrupt_index(sessions.revoke_all(&member()).await),
            Operation::List => assert_corrupt_index(sessions.list(&member(), None, 10).await),
        }
    }
    sessions.get(&own.token).await.unwrap();
    store_session_of(&sessions, "another").await;
    // The helper `connections_received` itself opens a connection.
    assert_eq!(connections_received(&redis).await, connections + 1);
}

#[tokio::test]
async fn subject_index_key_of_the_wrong_redis_type_causes_a_corrupt_index_error_and_is_unchanged() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    redis.command(&["SET", KEYS[2], "foreign"]).await;
    assert_corrupt_index(sessions.store_login(login_of(MEMBER)).await);
    assert_corrupt_index(sessions.list(&member(), None, 1).await);
    assert_corrupt_index(sessions.revoke_all(&member()).await);
    assert_eq!(all_keys(&redis).await, [KEYS[2]]);
}

/// Damages the pointer key `session-id:<session id>`, which contains the Redis key of a plain
/// record. The pointer key belongs to the subject index, so the error is `CorruptIndex`. The error
/// `Corrupt` would mean that the record of the session is corrupt.
#[tokio::test]
async fn revoking_by_id_returns_a_corrupt_index_error_if_the_pointer_key_is_not_a_string() {
    let redis = RedisProcess::start().await;
    let sessions = sessions_with(&plain_settings(&redis.url())).await;
    let own = store_session_of(&sessions, MEMBER).await;
    let id = SessionId::of(&own.token);
    let pointer = format!("session-id:{id}");
    redis.command(&["DEL", &pointer]).await;
    redis.command(&["LPUSH", &pointer, "foreign"]).await;
    let Err(SessionError::Repository(error)) = sessions.revoke(id).await else {
        panic!("the call succeeded");
    };
    assert!(
        matches!(error, RepositoryError::CorruptIndex { .. }),
        "{error:?}"
    );
}

/// Damages the details of a session in the subject index. The session is not listed, because a list
/// contains these details. The session is still revoked, because a revocation does not need the
/// details.
#[tokio::test]
async fn session_with_corrupt_details_in_the_subject_index_is_not_listed_but_can_be_revoked() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let own = store_session_of(&sessions, MEMBER).await;
    let id = SessionId::of(&own.token).to_string();
    let script = r"return redis.call('HSET', KEYS[1], ARGV[1], '1 \255')";
    redis.command(&["EVAL", script, "1", KEYS[0], &id]).await;
    assert_eq!(list_all_ids(&sessions, MEMBER, 10).await, []);
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 1);
}

/// Returns the number of connections that the server has accepted since it was started.
async fn connections_received(redis: &RedisProcess) -> u64 {
    let stats = redis.info("stats").await;
    let mut lines = stats.lines();
    let count = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
    count.and_then(|count| count.parse().ok()).expect("a count")
}
