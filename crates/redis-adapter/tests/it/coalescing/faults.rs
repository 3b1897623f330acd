//! Faults of batches: each is the error of the callers that it concerns, and counts once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rstest::rstest;
use tee_session_domain::{Cookies, RepositoryError, Session, SessionRepository, SessionToken};
use tee_session_redis_adapter::RedisFault;
use tee_session_test_support::{CapturedLogs, Fault, FaultProxy, RedisProcess, eventually};

use super::{LookUp, RECOVERED_WITHIN, TTL, calls, owner_of, reset_calls, session_of, stored};
use crate::{
    connected, connected_with, faults::add_minimal_user, scripted_server::ScriptedServer, settings,
};

/// The batch is one command: it counts once for the circuit breaker, which opens at five.
#[rstest]
#[case::reads(LookUp::Read)]
#[case::touches(LookUp::Touch)]
#[tokio::test]
async fn a_batch_that_times_out_counts_once_and_fails_only_its_own_callers(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(Duration::from_millis(100));
    let repository = connected_with(&settings).await;
    let tokens = stored(&repository, 60).await;
    redis.pause();
    for found in look_up.of_all(&repository, &tokens).await {
        assert_eq!(reason(found), timed_out());
    }
    // A breaker that had counted each of the sixty would hold this one back.
    let found = look_up.of(&repository, &tokens[0]).await;
    assert_eq!(reason(found), timed_out());
    redis.resume();
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
    for (number, found) in look_up
        .of_all(&repository, &tokens)
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

/// Returns what Redis, or the way to it, did wrong. Which command carried the look-up is no matter.
fn reason<T: std::fmt::Debug>(result: Result<T, RepositoryError>) -> RedisFault {
    let RepositoryError::Unavailable { source } = result.unwrap_err() else {
        panic!("another error");
    };
    match source.downcast_ref::<RedisFault>().unwrap() {
        RedisFault::TimedOut { .. } => timed_out(),
        fault => fault.clone(),
    }
}

#[rstest]
#[case::reads(LookUp::Read)]
#[case::touches(LookUp::Touch)]
#[tokio::test]
async fn a_connection_that_breaks_fails_the_batch_on_its_way_at_once(#[case] look_up: LookUp) {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    let patient = settings(&url).with_command_timeout(Duration::from_secs(20));
    let repository = connected_with(&patient).await;
    let tokens = stored(&repository, 40).await;
    proxy.set(Fault::ResetAfter(0));
    let began = Instant::now();
    for found in look_up.of_all(&repository, &tokens).await {
        assert!(
            matches!(found, Err(RepositoryError::Unavailable { .. })),
            "{found:?}"
        );
    }
    // Those that are asked for while the end is being noticed do not wait for their time limit either.
    assert!(repository.fetch(&tokens[0]).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(5));
    proxy.set(Fault::None);
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
    for (number, found) in look_up
        .of_all(&repository, &tokens)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
    }
}

/// A Redis without memory takes GET and EXPIRE, and so it does the script in their place.
#[tokio::test]
async fn a_full_redis_still_answers_batches() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let tokens = stored(&repository, 20).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(matches!(
        repository
            .insert(&SessionToken::generate(), &session_of("x"), TTL)
            .await,
        Err(RepositoryError::Full { .. })
    ));
    for look_up in [LookUp::Read, LookUp::Touch] {
        for found in look_up.of_all(&repository, &tokens).await {
            assert!(found.unwrap().is_some());
        }
    }
}

/// A server that has become a replica refuses the batch as a whole, and the connection ends.
#[tokio::test]
async fn a_replica_answers_no_batch() {
    let (primary, redis) = (RedisProcess::start().await, RedisProcess::start().await);
    let logs = CapturedLogs::start();
    let repository = connected(&redis.url()).await;
    let tokens = stored(&repository, 20).await;
    let port = primary.port().to_string();
    redis.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    for found in LookUp::Touch.of_all(&repository, &tokens).await {
        assert!(
            matches!(found, Err(RepositoryError::Unavailable { .. })),
            "{found:?}"
        );
    }
    eventually(RECOVERED_WITHIN, async || {
        logs.text().contains("Redis said READONLY")
    })
    .await;
}

/// A user with the permissions that were enough before there were batches: Redis refuses the first
/// batch, its look-ups are repeated one by one, and no other batch is tried on this connection.
#[rstest]
#[case::reads(LookUp::Read)]
#[case::touches(LookUp::Touch)]
#[tokio::test]
async fn a_user_without_the_permission_for_batches_is_served_by_native_commands(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    add_minimal_user(&redis).await;
    redis
        .command(&["ACL", "SETUSER", "tee", "-mget", "-eval"])
        .await;
    let url = format!("redis://tee:s3cret@127.0.0.1:{}/0", redis.port());
    let logs = CapturedLogs::start();
    let repository = connected(&url).await;
    let tokens = stored(&repository, 20).await;
    reset_calls(&redis).await;
    for _ in 0..3 {
        for (number, found) in look_up
            .of_all(&repository, &tokens)
            .await
            .into_iter()
            .enumerate()
        {
            assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
        }
    }
    let calls = calls(&redis).await;
    assert_eq!(calls[look_up.batch()], (0, 1), "one try, which is refused");
    assert_eq!(calls["get"].0, 60);
    assert_eq!(
        logs.text()
            .matches("check-config --connect shows the rules")
            .count(),
        1
    );
}

/// A permission that native commands lack as well is the error of each look-up.
#[tokio::test]
async fn a_permission_that_every_way_needs_is_named() {
    let redis = RedisProcess::start().await;
    add_minimal_user(&redis).await;
    let url = format!("redis://tee:s3cret@127.0.0.1:{}/0", redis.port());
    let repository = connected(&url).await;
    let tokens = stored(&repository, 20).await;
    redis.command(&["ACL", "SETUSER", "tee", "-expire"]).await;
    for found in LookUp::Touch.of_all(&repository, &tokens).await {
        let expected = RedisFault::Refused {
            command: "EXPIRE",
            code: "NOPERM".to_owned(),
        };
        assert_eq!(reason(found), expected);
    }
}

/// The reply to a batch of `items` keys that finds nothing, with `count` as its head.
fn reply_to_batch(items: usize, count: usize) -> Vec<u8> {
    let head = format!("*{}\r\n:{count}\r\n", items + 1);
    [head.as_bytes(), &b"$-1\r\n".repeat(items)].concat()
}

/// In a list of another length, or one that another batch was answered with, no item is known to be
/// anybody's. Of 20 look-ups the first goes alone.
#[rstest]
#[case::fewer(reply_to_batch(18, 19))]
#[case::more(reply_to_batch(200, 19))]
#[case::another_batch(reply_to_batch(19, 18))]
#[case::no_list(b"+OK\r\n".to_vec())]
#[case::number(b":1\r\n".to_vec())]
#[tokio::test]
async fn a_reply_that_fits_no_batch_is_nobodys_answer_and_ends_the_connection(
    #[case] reply: Vec<u8>,
) {
    let server = ScriptedServer::start(move |command| match command {
        b"EVAL" | b"MGET" => Some(reply.clone()),
        _ => None,
    })
    .await;
    let logs = CapturedLogs::start();
    let repository = connected(&server.url()).await;
    let tokens: Vec<_> = (0..20).map(|_| SessionToken::generate()).collect();
    let found = LookUp::Touch.of_all(&repository, &tokens).await;
    // The first one went alone.
    for found in &found[1..] {
        assert!(
            matches!(found, Err(RepositoryError::Unavailable { .. })),
            "{found:?}"
        );
    }
    eventually(RECOVERED_WITHIN, async || {
        logs.text().contains("an answer did not fit its question")
    })
    .await;
}

/// The same for a look-up that is alone: a number and a list are no session, and do not mean that
/// there is no session.
#[rstest]
#[case::number(b":1\r\n")]
#[case::empty_list(b"*0\r\n")]
#[case::list_of_one(b"*1\r\n$1\r\na\r\n")]
#[tokio::test]
async fn a_reply_that_fits_no_look_up_is_no_answer_and_ends_the_connection(
    #[case] reply: &'static [u8],
) {
    let is_armed = Arc::new(AtomicBool::new(false));
    let server = ScriptedServer::start({
        let is_armed = Arc::clone(&is_armed);
        move |command| {
            let is_hit = command == b"GET" && is_armed.load(Ordering::SeqCst);
            is_hit.then(|| reply.to_vec())
        }
    })
    .await;
    let logs = CapturedLogs::start();
    let repository = connected(&server.url()).await;
    for look_up in [LookUp::Read, LookUp::Touch] {
        eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
        is_armed.store(true, Ordering::SeqCst);
        let found = look_up.of(&repository, &SessionToken::generate()).await;
        is_armed.store(false, Ordering::SeqCst);
        let expected = RedisFault::Unexpected { command: "GET" };
        assert_eq!(reason(found), expected);
    }
    eventually(RECOVERED_WITHIN, async || {
        logs.text().contains("an answer did not fit its question")
    })
    .await;
}

/// A command that waits in the queue of the client when its time is over is not written to a server that
/// reads again. Only the bytes that the kernel had taken before, or that fred was just writing, are.
#[tokio::test]
async fn a_command_that_timed_out_in_the_queue_is_not_sent_later() {
    const LOGINS: usize = 4_000;
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(Duration::from_millis(200));
    let repository = connected_with(&settings).await;
    redis.pause();
    // 48 MB: more than the buffers of both sockets hold.
    let cookies = (0..3).map(|number| (format!("C{number}"), "x".repeat(4_000)));
    let large = Session {
        cookies: Cookies::new(cookies).unwrap(),
        ..session_of("x")
    };
    let tokens: Vec<_> = (0..LOGINS).map(|_| SessionToken::generate()).collect();
    let logins = tokens
        .iter()
        .map(|token| repository.insert(token, &large, TTL));
    for login in join_all(logins).await {
        assert!(matches!(login, Err(RepositoryError::Unavailable { .. })));
    }
    redis.resume();
    eventually(RECOVERED_WITHIN, async || repository.ping().await.is_ok()).await;
    let carried_out = redis.command(&["DBSIZE"]).await.as_i64().unwrap();
    assert!(carried_out < LOGINS as i64 / 2, "{carried_out}");
}
