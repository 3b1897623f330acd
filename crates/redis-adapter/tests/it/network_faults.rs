//! Tests of network faults: a call returns the right session or an error, and never the session of
//! another token.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fred::interfaces::KeysInterface;
use rstest::rstest;
use tee_session_domain::{
    Cookies, NewSession, RepositoryError, Session, SessionError, SessionRepository, SessionToken,
};
use tee_session_redis_adapter::{RedisSettings, StorageFormat};
use tee_session_test_support::{CapturedLogs, Fault, FaultProxy, RedisProcess, eventually};

use tokio::time::{sleep, timeout};

use crate::{
    Sessions, base_url, connect_with, cookies, plain_key, plain_settings,
    scripted_server::ScriptedServer, sessions_with, settings,
};

const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum duration of a call: twice the command timeout of 500 ms, plus 1 s as a reserve for a
/// busy machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for 1000 reads over connections that damage replies.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

struct FaultyRedis {
    proxy: FaultProxy,
    settings: RedisSettings,
    _redis: RedisProcess,
}

impl FaultyRedis {
    async fn start() -> Self {
        let redis = RedisProcess::start().await;
        let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
        let settings = settings(&format!("redis://{}", proxy.address()));
        Self {
            proxy,
            settings: settings.with_command_timeout(COMMAND_TIMEOUT),
            _redis: redis,
        }
    }
}

fn is_unavailable(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Repository(RepositoryError::Unavailable { .. })
    )
}

#[rstest]
#[case::connection_hangs(Fault::Stall)]
#[case::requests_dropped(Fault::SwallowRequests)]
#[case::replies_dropped(Fault::SwallowAnswers)]
#[case::cut_within_a_reply(Fault::CutAfter(3))]
#[case::cut_before_a_reply(Fault::CutAfter(0))]
#[case::reset_within_a_reply(Fault::ResetAfter(3))]
#[case::replies_after_the_timeout(Fault::Delay(2 * COMMAND_TIMEOUT))]
#[tokio::test]
async fn session_operations_return_unavailable_during_a_network_fault_and_succeed_afterwards(
    #[case] fault: Fault,
) {
    let faulty = FaultyRedis::start().await;
    let sessions = sessions_with(&faulty.settings).await;
    let kept = sessions.store(cookies(), base_url()).await.unwrap();
    faulty.proxy.set(fault);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let started = Instant::now();
        let got = sessions.get(&kept.token).await.unwrap_err();
        let stored = sessions.store(cookies(), base_url()).await.unwrap_err();
        let existence = sessions.exists(&kept.token).await.unwrap_err();
        assert!(started.elapsed() < 3 * CALL_TIMEOUT, "{fault:?}");
        for error in [got, stored, existence] {
            assert!(is_unavailable(&error), "{error:?}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    faulty.proxy.set(Fault::None);
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&kept.token).await.is_ok()
    })
    .await;
    let active = sessions.get(&kept.token).await.unwrap();
    assert_eq!(active.session, kept.session);
}

#[tokio::test]
async fn slow_redis_replies_within_the_command_timeout_are_accepted() {
    let faulty = FaultyRedis::start().await;
    let settings = faulty.settings.clone();
    let settings = settings.with_command_timeout(Duration::from_secs(5));
    let sessions = sessions_with(&settings).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    faulty.proxy.set(Fault::Delay(Duration::from_millis(60)));
    for _ in 0..10 {
        sessions.get(&new.token).await.unwrap();
    }
}

/// Drops some replies, so that each later reply arrives for the wrong command. The client must
/// close the connection as soon as it detects a mismatched reply, and must not wait for the next
/// regular heartbeat.
#[tokio::test]
async fn connection_whose_replies_do_not_match_the_requests_is_closed_within_500_ms() {
    let logs = CapturedLogs::start();
    let faulty = FaultyRedis::start().await;
    // With a timeout of 3 s, callers are still waiting when the mismatched replies arrive.
    let settings = faulty.settings.clone();
    let settings = settings.with_command_timeout(Duration::from_secs(3));
    let sessions = Arc::new(sessions_with(&settings).await);
    let kept = Arc::new(sessions.store(cookies(), base_url()).await.unwrap());
    let readers = tokio::spawn({
        let (sessions, kept) = (Arc::clone(&sessions), Arc::clone(&kept));
        async move {
            loop {
                let (sessions, kept) = (Arc::clone(&sessions), Arc::clone(&kept));
                tokio::spawn(async move {
                    if let Ok(active) = sessions.get(&kept.token).await {
                        assert_eq!(active.session, kept.session);
                    }
                    let _ = sessions.ttl(&kept.token).await;
                });
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    faulty.proxy.set(Fault::LoseAnswers);
    sleep(Duration::from_millis(20)).await;
    faulty.proxy.set(Fault::None);
    // Regular heartbeats are sent only once per second.
    let lost = eventually(RECOVERED_WITHIN, async || {
        !logs.events("Redis connection lost").is_empty()
    })
    .await;
    assert!(lost < Duration::from_millis(500), "{lost:?}");
    assert!(logs.text().contains("a reply did not match its request"));
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&kept.token).await.is_ok()
    })
    .await;
    readers.abort();
}

/// Reads 40 sessions with eight concurrent readers through a proxy. The proxy replaces random bytes
/// of replies, and closes or resets connections within replies. No read may return the session of
/// another token, even if a replaced byte has changed the length of a reply.
#[rstest]
#[case::sealed(StorageFormat::Sealed)]
#[case::plain(StorageFormat::Plain)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_redis_replies_never_return_the_session_of_another_token(
    #[case] format: StorageFormat,
) {
    const READERS: usize = 8;
    const READS: usize = 1_000;
    const FAILURES: usize = 50;
    let faulty = FaultyRedis::start().await;
    let settings = faulty.settings.clone().with_storage_format(format);
    let sessions = Arc::new(sessions_with(&settings).await);
    let stored = Arc::new(store_many(&sessions).await);
    let (right, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (sessions, stored) = (Arc::clone(&sessions), Arc::clone(&stored));
            let (right, failed) = (Arc::clone(&right), Arc::clone(&failed));
            tokio::spawn(async move {
                let enough = || {
                    let (right, failed) = (&right, &failed);
                    right.load(Ordering::Relaxed) >= READS
                        && failed.load(Ordering::Relaxed) >= FAILURES
                };
                while !enough() {
                    let new = &stored[fastrand::usize(..stored.len())];
                    match sessions.get(&new.token).await {
                        Ok(active) => {
                            let owner = owner_of(&active.session);
                            let expected = owner_of(&new.session);
                            assert!(matches_owner(owner, expected), "{owner:?} for {expected:?}");
                            right.fetch_add(1, Ordering::Relaxed);
                        }
                        // Any error is accepted: a damaged reply can look like the reply for a
                        // missing session, or can contain a corrupt record.
                        Err(_) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            // Replacing a closed connection takes some time.
                            sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
            })
        })
        .collect();
    let inject_faults = async {
        loop {
            for fault in [
                Fault::Garble { one_in: 2_000 },
                Fault::CutAfter(fastrand::usize(..600)),
                Fault::Garble { one_in: 200 },
                Fault::ResetAfter(fastrand::usize(..600)),
            ] {
                faulty.proxy.set(fault);
                sleep(Duration::from_millis(15)).await;
                faulty.proxy.set(Fault::None);
                let before = right.load(Ordering::Relaxed);
                eventually(READ_TIMEOUT, async || {
                    right.load(Ordering::Relaxed) > before + 20
                })
                .await;
            }
        }
    };
    let all_read = async {
        for reader in readers {
            reader.await.unwrap();
        }
    };
    tokio::select! {
        () = inject_faults => {}
        read = timeout(READ_TIMEOUT, all_read) => read.expect("reads continue between the faults"),
    }
}

/// Stores 40 sessions, each with a cookie value that identifies the session: one letter, repeated
/// 20 or 21 times. Two cookie values with the same letter have different lengths.
async fn store_many(sessions: &Sessions) -> Vec<NewSession> {
    let mut stored = Vec::new();
    for n in 0..40_u8 {
        let letter = char::from(b'A' + n % 26).to_string();
        let owner = letter.repeat(20 + usize::from(n / 26));
        let cookies = Cookies::new([("OWNER".to_owned(), owner)]).unwrap();
        stored.push(sessions.store(cookies, base_url()).await.unwrap());
    }
    stored
}

/// Returns the cookie value that identifies the session. The value is taken from the first cookie,
/// whatever its name is, because a damaged byte in a cookie name of a plain record can go
/// undetected.
fn owner_of(session: &Session) -> &str {
    session
        .cookies
        .iter()
        .next()
        .and_then(|(_, owner)| owner)
        .unwrap_or_default()
}

/// Returns `true` if `owner`, the cookie value that was read, has the length of `expected` and
/// agrees with `expected` in at least half of the characters. The network fault may have damaged
/// the other characters.
fn matches_owner(owner: &str, expected: &str) -> bool {
    let same = owner.chars().zip(expected.chars()).filter(|(a, b)| a == b);
    owner.chars().count() == expected.len() && same.count() >= expected.len() / 2
}

/// Sends the reply to the first GET twice. The second reply belongs to no request, so the look-up
/// of another session must not get it. Plain records are used, because a sealed record of another
/// session cannot be decrypted anyway.
#[tokio::test]
async fn unrequested_redis_reply_is_not_given_to_a_later_session_look_up() {
    let redis = RedisProcess::start().await;
    let stored = sessions_with(&plain_settings(&redis.url())).await;
    let new = stored.store(cookies(), base_url()).await.unwrap();
    let key = plain_key(&new.token);
    let record: String = redis.client().await.get(&key).await.unwrap();
    let reply = format!("${}\r\n{record}\r\n", record.len()).repeat(2);
    let is_first = AtomicBool::new(true);
    let server = ScriptedServer::start(move |command| {
        let is_scripted = command == b"GET" && is_first.swap(false, Ordering::SeqCst);
        is_scripted.then(|| reply.clone().into_bytes())
    })
    .await;
    let repository = connect_with(&plain_settings(&server.url())).await;
    let found = repository.load(&new.token).await.unwrap().unwrap();
    assert_eq!(found.cookies, new.session.cookies);
    for _ in 0..20 {
        let found = repository.load(&SessionToken::generate()).await;
        assert!(!matches!(found, Ok(Some(_))), "{found:?}");
    }
    eventually(RECOVERED_WITHIN, async || {
        matches!(repository.load(&SessionToken::generate()).await, Ok(None))
    })
    .await;
}
