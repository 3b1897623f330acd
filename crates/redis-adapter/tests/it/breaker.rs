//! The circuit breaker: nobody waits for a Redis that has just left others without an answer.

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

/// What a call may take that asks nobody.
const AT_ONCE: Duration = Duration::from_millis(20);

const RECOVERED_WITHIN: Duration = Duration::from_secs(2);

fn reason(error: &SessionError) -> String {
    ErrorChain(error).to_string()
}

#[tokio::test]
async fn after_a_few_commands_without_an_answer_calls_fail_at_once_until_redis_answers() {
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(COMMAND_TIMEOUT);
    let sessions = Arc::new(sessions_with(&settings).await);
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    redis.pause();
    // They go out together, and wait together.
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (sessions, token) = (Arc::clone(&sessions), new.token.clone());
            tokio::spawn(async move { sessions.get(&token).await.is_err() })
        })
        .collect();
    for call in waiting {
        assert!(call.await.unwrap());
    }
    let (mut slow, mut held_back) = (0, 0);
    for _ in 0..200 {
        let asked = Instant::now();
        let error = sessions.get(&new.token).await.unwrap_err();
        slow += usize::from(asked.elapsed() > AT_ONCE);
        held_back += usize::from(reason(&error).contains("left the last commands"));
        assert!(matches!(
            error,
            SessionError::Repository(RepositoryError::Unavailable { .. })
        ));
    }
    // A busy machine may hold some up.
    assert!(slow <= 10, "{slow} of 200 took longer than {AT_ONCE:?}");
    assert!(held_back > 0, "the breaker opened");
    redis.resume();
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&new.token).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn answers_of_whatever_kind_never_open_it() {
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

/// What nobody waits for any more is not carried out in a burst when Redis answers again: only what
/// was on its way before the breaker opened may be.
#[tokio::test]
async fn what_timed_out_in_an_outage_is_not_sent_afterwards() {
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
    let carried_out = admin.send(&["DBSIZE"]).await.as_i64().unwrap();
    // Each client that is made in the outage lets a few commands pass until its breaker opens.
    assert!(failed > 1_000, "{failed}");
    assert!(
        carried_out <= 3 * CALLERS as i64,
        "{carried_out} of {failed}"
    );
}
