//! Tests of the circuit breaker, which rejects calls at once after five consecutive commands
//! without a reply.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tee_session_domain::{
    ErrorChain, RepositoryError, SessionError, SessionRepository, SessionToken,
};
use tee_session_test_support::{RedisProcess, eventually};

use crate::{base_url, cookies, sessions, sessions_with, settings};

const COMMAND_TIMEOUT: Duration = Duration::from_millis(300);

/// Maximum duration of a call that the circuit breaker rejects without sending a command to Redis.
const FAIL_FAST: Duration = Duration::from_millis(20);

const RECOVERED_WITHIN: Duration = Duration::from_secs(2);

fn reason(error: &SessionError) -> String {
    ErrorChain(error).to_string()
}

#[tokio::test]
async fn circuit_breaker_opens_after_commands_without_reply_and_closes_when_redis_replies() {
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(COMMAND_TIMEOUT);
    let sessions = Arc::new(sessions_with(&settings).await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.pause();
    // The eight calls are sent at the same time and time out together.
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (sessions, token) = (Arc::clone(&sessions), new.token.clone());
            tokio::spawn(async move { sessions.get(&token).await.is_err() })
        })
        .collect();
    for call in waiting {
        assert!(call.await.unwrap());
    }
    let (mut slow, mut rejected) = (0, 0);
    for _ in 0..200 {
        let started = Instant::now();
        let error = sessions.get(&new.token).await.unwrap_err();
        slow += usize::from(started.elapsed() > FAIL_FAST);
        rejected += usize::from(reason(&error).contains("the circuit breaker is open"));
        assert!(matches!(
            error,
            SessionError::Repository(RepositoryError::Unavailable { .. })
        ));
    }
    // Some calls may be slow on a busy machine.
    assert!(slow <= 10, "{slow} of 200 took longer than {FAIL_FAST:?}");
    assert!(rejected > 0, "the circuit breaker did not open");
    redis.resume();
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&new.token).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn error_and_not_found_replies_do_not_open_the_circuit_breaker() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    for _ in 0..20 {
        let unknown = sessions.get(&SessionToken::generate()).await;
        assert!(matches!(unknown, Err(SessionError::NotFound)));
    }
    sessions.get(&new.token).await.unwrap();
    redis.command(&["ACL", "SETUSER", "default", "-get"]).await;
    for _ in 0..20 {
        let refused = sessions.get(&new.token).await.unwrap_err();
        assert!(reason(&refused).contains("NOPERM"), "{refused:?}");
    }
    redis.command(&["ACL", "SETUSER", "default", "+get"]).await;
    sessions.get(&new.token).await.unwrap();
}

/// Pauses Redis for 5 s while eight callers try to store sessions. After the pause, Redis may
/// execute only the commands that were sent before the circuit breaker opened. All other commands
/// timed out and must not be sent afterwards.
#[tokio::test]
async fn commands_that_timed_out_during_a_redis_outage_are_not_sent_afterwards() {
    const CALLERS: usize = 8;
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(COMMAND_TIMEOUT);
    let sessions = Arc::new(sessions_with(&settings).await);
    let admin = redis.admin().await;
    redis.pause();
    let until = Instant::now() + Duration::from_secs(5);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let sessions = Arc::clone(&sessions);
            tokio::spawn(async move {
                let mut failed = 0;
                while Instant::now() < until {
                    failed += usize::from(sessions.store(cookies(), base_url()).await.is_err());
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                failed
            })
        })
        .collect();
    let mut failed = 0;
    for caller in callers {
        failed += caller.await.unwrap();
    }
    redis.resume();
    eventually(RECOVERED_WITHIN, async || {
        sessions.repository().ping().await.is_ok()
    })
    .await;
    let executed = admin.send(&["DBSIZE"]).await.as_i64().unwrap();
    // Each connection that is opened in the outage can send a few commands before the circuit
    // breaker opens.
    assert!(failed > 1_000, "{failed}");
    assert!(executed <= 3 * CALLERS as i64, "{executed} of {failed}");
}
