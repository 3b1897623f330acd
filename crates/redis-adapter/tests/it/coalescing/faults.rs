//! Tests of batched look-ups during faults: if a batch fails, only the look-ups in the batch fail,
//! and the circuit breaker counts one failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use rstest::rstest;
use tee_session_domain::{Cookies, RepositoryError, Session, SessionRepository, SessionToken};
use tee_session_redis_adapter::RedisFault;
use tee_session_test_support::{CapturedLogs, Fault, FaultProxy, RedisProcess, eventually};
use tokio::time::sleep;

use super::{
    LookUp, RECOVERED_WITHIN, TTL, command_counts, owner_of, reset_command_counts, session_of,
    store_many,
};
use crate::{
    connect, connect_with, faults::add_minimal_user, scripted_server::ScriptedServer, settings,
};

/// Lets a batch of look-ups time out. A batch is one command, so the batch counts as one timeout
/// for the circuit breaker. The circuit breaker opens after five timeouts.
#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch)]
#[tokio::test]
async fn timeout_of_a_batch_of_look_ups_counts_as_one_timeout_for_the_circuit_breaker(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    let tokens = store_many(&connect(&redis.url()).await, 60).await;
    let settings = settings(&redis.url()).with_command_timeout(Duration::from_secs(1));
    let repository = connect_with(&settings).await;
    redis.pause();
    for found in look_up.run_all(&repository, &tokens).await {
        assert_eq!(fault_of(found), timed_out());
    }
    // If each of the 60 look-ups had counted as a timeout, the open circuit breaker would now
    // reject this look-up.
    let found = look_up.run(&repository, &tokens[0]).await;
    assert_eq!(fault_of(found), timed_out());
    redis.resume();
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
    for (number, found) in look_up
        .run_all(&repository, &tokens)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
    }
}

fn timed_out() -> RedisFault {
    RedisFault::TimedOut { command: "GET" }
}

/// Stalls the connection while two groups of look-ups are in progress. The first group times out
/// before the connection works again. The second group has not timed out. It must not get the late
/// replies to the first group.
#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read, LookUp::Touch)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch, LookUp::Read)]
#[tokio::test]
async fn timeout_of_a_batch_of_look_ups_fails_only_the_look_ups_in_that_batch(
    #[case] first_group: LookUp,
    #[case] second_group: LookUp,
) {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let settings = settings(&format!("redis://{}/0", proxy.address()));
    let settings = settings.with_command_timeout(Duration::from_millis(1_500));
    let logs = CapturedLogs::start();
    let repository = connect_with(&settings).await;
    let tokens = store_many(&repository, 40).await;
    proxy.set(Fault::Stall);
    let first = async {
        let found = first_group.run_all(&repository, &tokens[..20]).await;
        proxy.set(Fault::None);
        found
    };
    // The second group begins before the first group times out after 1.5 s.
    let second = async {
        sleep(Duration::from_millis(1_200)).await;
        second_group.run_all(&repository, &tokens[20..]).await
    };
    let (first, second) = join(first, second).await;
    for found in first {
        assert_eq!(fault_of(found), timed_out());
    }
    for (number, found) in (20..).zip(second) {
        assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
    }
    let lost = logs.events("Redis connection lost");
    assert!(lost.is_empty(), "{lost:?}");
}

/// Returns the fault that caused an `Unavailable` or `Misconfigured` error. A timeout of any
/// command is returned as a timeout of GET, so that tests can compare timeouts.
fn fault_of<T: std::fmt::Debug>(result: Result<T, RepositoryError>) -> RedisFault {
    let (RepositoryError::Unavailable { source } | RepositoryError::Misconfigured { source }) =
        result.unwrap_err()
    else {
        panic!("another error");
    };
    match source.downcast_ref::<RedisFault>().unwrap() {
        RedisFault::TimedOut { .. } => timed_out(),
        fault => fault.clone(),
    }
}

#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch)]
#[tokio::test]
async fn broken_connection_fails_pending_look_ups_without_waiting_for_the_command_timeout(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    let settings = settings(&url).with_command_timeout(Duration::from_secs(20));
    let repository = connect_with(&settings).await;
    let tokens = store_many(&repository, 40).await;
    proxy.set(Fault::ResetAfter(0));
    let began = Instant::now();
    for found in look_up.run_all(&repository, &tokens).await {
        assert!(
            matches!(found, Err(RepositoryError::Unavailable { .. })),
            "{found:?}"
        );
    }
    // A look-up that begins before the client detects the broken connection must not wait for the
    // command timeout of 20 s either.
    assert!(repository.load(&tokens[0]).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(5));
    proxy.set(Fault::None);
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
    for (number, found) in look_up
        .run_all(&repository, &tokens)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
    }
}

/// Sets `maxmemory` to 1 byte. Redis then still accepts GET and EXPIRE, and must also accept the
/// script that replaces both commands in a batch.
#[tokio::test]
async fn batched_look_ups_find_all_sessions_when_redis_is_out_of_memory() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let tokens = store_many(&repository, 20).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(matches!(
        repository
            .insert(&SessionToken::generate(), &session_of("x"), TTL)
            .await,
        Err(RepositoryError::Full { .. })
    ));
    for look_up in [LookUp::Read, LookUp::Touch] {
        for found in look_up.run_all(&repository, &tokens).await {
            assert!(found.unwrap().is_some());
        }
    }
}

/// Makes the server a replica, which rejects the whole batch with READONLY. All look-ups of the
/// batch fail, and the client closes the connection.
#[tokio::test]
async fn batched_look_ups_return_an_unavailable_error_after_the_server_became_a_replica() {
    let (primary, redis) = (RedisProcess::start().await, RedisProcess::start().await);
    let logs = CapturedLogs::start();
    let repository = connect(&redis.url()).await;
    let tokens = store_many(&repository, 20).await;
    let port = primary.port().to_string();
    redis.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    for found in LookUp::Touch.run_all(&repository, &tokens).await {
        assert!(
            matches!(found, Err(RepositoryError::Unavailable { .. })),
            "{found:?}"
        );
    }
    eventually(RECOVERED_WITHIN, async || {
        logs.text().contains("Redis replied with READONLY")
    })
    .await;
}

/// Revokes the permissions for MGET and EVAL. Redis rejects the first batch, and the client repeats
/// the look-ups of the batch as single commands. The client sends no further batch on the
/// connection.
#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch)]
#[tokio::test]
async fn look_ups_are_sent_one_by_one_if_the_redis_user_lacks_permission_for_the_batch_command(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    add_minimal_user(&redis).await;
    redis
        .command(&["ACL", "SETUSER", "tee", "-mget", "-eval"])
        .await;
    let url = format!("redis://tee:s3cret@127.0.0.1:{}/0", redis.port());
    let logs = CapturedLogs::start();
    let repository = connect(&url).await;
    let tokens = store_many(&repository, 20).await;
    reset_command_counts(&redis).await;
    for _ in 0..3 {
        for (number, found) in look_up
            .run_all(&repository, &tokens)
            .await
            .into_iter()
            .enumerate()
        {
            assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
        }
    }
    let calls = command_counts(&redis).await;
    assert_eq!(
        calls[look_up.batch_command()],
        (0, 1),
        "one batch, which is rejected"
    );
    assert_eq!(calls["get"].0, 60);
    assert_eq!(
        logs.text()
            .matches("check-config --connect shows the ACL rules")
            .count(),
        1
    );
}

/// Revokes the permission for EXPIRE. The script of the batch fails, and the single commands that
/// replace the batch fail too. Each look-up fails with an error that names EXPIRE.
#[tokio::test]
async fn look_ups_without_the_expire_permission_fail_with_an_error_that_names_expire() {
    let redis = RedisProcess::start().await;
    add_minimal_user(&redis).await;
    let url = format!("redis://tee:s3cret@127.0.0.1:{}/0", redis.port());
    let repository = connect(&url).await;
    let tokens = store_many(&repository, 20).await;
    redis.command(&["ACL", "SETUSER", "tee", "-expire"]).await;
    for found in LookUp::Touch.run_all(&repository, &tokens).await {
        let expected = RedisFault::Refused {
            command: "EXPIRE",
            code: "NOPERM".to_owned(),
        };
        assert_eq!(fault_of(found), expected);
    }
}

/// Returns a reply to a batch of look-ups that find no session: a list with the item `head`,
/// followed by `items` null values.
fn reply_to_batch(head: &str, items: usize) -> Vec<u8> {
    let head = format!("*{}\r\n{head}\r\n", items + 1);
    [head.as_bytes(), &b"$-1\r\n".repeat(items)].concat()
}

/// Sends a wrong reply to a batch of 19 look-ups. A valid reply has 20 items: a first item (the
/// number of keys for EVAL, null for MGET), and then one item for each look-up. If the reply is
/// wrong, its items cannot be assigned to look-ups, so all 19 look-ups fail.
#[rstest]
#[case::too_few_items_with_ttl_renewal(LookUp::Touch, reply_to_batch(":19", 18))]
#[case::too_many_items_with_ttl_renewal(LookUp::Touch, reply_to_batch(":19", 200))]
#[case::reply_to_another_batch_with_ttl_renewal(LookUp::Touch, reply_to_batch(":18", 19))]
#[case::status_reply_with_ttl_renewal(LookUp::Touch, b"+OK\r\n".to_vec())]
#[case::integer_reply_with_ttl_renewal(LookUp::Touch, b":1\r\n".to_vec())]
#[case::too_few_items(LookUp::Read, reply_to_batch("$-1", 18))]
#[case::too_many_items(LookUp::Read, reply_to_batch("$-1", 200))]
#[case::reply_to_another_kind_of_batch(LookUp::Read, reply_to_batch(":19", 19))]
#[case::status_reply(LookUp::Read, b"+OK\r\n".to_vec())]
#[case::integer_reply(LookUp::Read, b":1\r\n".to_vec())]
#[tokio::test]
async fn reply_that_does_not_match_the_batch_fails_all_its_look_ups_and_closes_the_connection(
    #[case] look_up: LookUp,
    #[case] reply: Vec<u8>,
) {
    let server = ScriptedServer::start(move |command| match command {
        b"EVAL" | b"MGET" => Some(reply.clone()),
        _ => None,
    })
    .await;
    let logs = CapturedLogs::start();
    let repository = connect(&server.url()).await;
    let tokens: Vec<_> = (0..20).map(|_| SessionToken::generate()).collect();
    let found = look_up.run_all(&repository, &tokens).await;
    // The first look-up is left out, because it was sent alone and got a valid reply.
    for found in &found[1..] {
        assert!(
            matches!(found, Err(RepositoryError::Unavailable { .. })),
            "{found:?}"
        );
    }
    eventually(RECOVERED_WITHIN, async || {
        logs.text().contains("a reply did not match its request")
    })
    .await;
}

/// Replies to the GET of a single look-up with a value of the wrong type. The look-up must fail.
/// The result `None` would mean that the session does not exist.
#[rstest]
#[case::integer_reply(b":1\r\n")]
#[case::empty_list(b"*0\r\n")]
#[case::list_of_one(b"*1\r\n$1\r\na\r\n")]
#[tokio::test]
async fn reply_of_the_wrong_type_to_a_look_up_is_an_error_and_closes_the_connection(
    #[case] reply: &'static [u8],
) {
    let is_armed = Arc::new(AtomicBool::new(false));
    let server = ScriptedServer::start({
        let is_armed = Arc::clone(&is_armed);
        move |command| {
            let is_scripted = command == b"GET" && is_armed.load(Ordering::SeqCst);
            is_scripted.then(|| reply.to_vec())
        }
    })
    .await;
    let logs = CapturedLogs::start();
    let repository = connect(&server.url()).await;
    for look_up in [LookUp::Read, LookUp::Touch] {
        eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
        is_armed.store(true, Ordering::SeqCst);
        let found = look_up.run(&repository, &SessionToken::generate()).await;
        is_armed.store(false, Ordering::SeqCst);
        let expected = RedisFault::Unexpected { command: "GET" };
        assert_eq!(fault_of(found), expected);
    }
    eventually(RECOVERED_WITHIN, async || {
        logs.text().contains("a reply did not match its request")
    })
    .await;
}

/// Pauses Redis and inserts 4000 large sessions at the same time. All inserts time out, most of
/// them while they wait in the queue of the client. After the pause, the client must not send
/// commands that timed out in the queue. Redis may still receive commands that had already left the
/// queue.
#[tokio::test]
async fn command_that_times_out_in_the_send_queue_is_never_sent_to_redis() {
    const INSERTS: usize = 4_000;
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(Duration::from_millis(200));
    let repository = connect_with(&settings).await;
    redis.pause();
    // All inserts together have 48 MB, which exceeds the buffers of both sockets.
    let cookies = (0..3).map(|number| (format!("C{number}"), "x".repeat(4_000)));
    let large = Session {
        cookies: Cookies::new(cookies).unwrap(),
        ..session_of("x")
    };
    let tokens: Vec<_> = (0..INSERTS).map(|_| SessionToken::generate()).collect();
    let inserts = tokens
        .iter()
        .map(|token| repository.insert(token, &large, TTL));
    for insert in join_all(inserts).await {
        assert!(matches!(insert, Err(RepositoryError::Unavailable { .. })));
    }
    redis.resume();
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
    let executed = redis.command(&["DBSIZE"]).await.as_i64().unwrap();
    // The kernel accepts as many bytes as fit in the send buffer. Another 100 sessions are
    // tolerated for the receive buffer of Redis and for the bytes that fred was writing.
    let send_buffers = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap();
    let send_buffer = send_buffers.split_whitespace().last().unwrap();
    let accepted = send_buffer.parse::<i64>().unwrap() / 12_000 + 100;
    assert!(executed <= accepted, "{executed} of {accepted}");
}
