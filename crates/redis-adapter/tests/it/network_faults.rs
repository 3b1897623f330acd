//! What the network does to a connection: answers stay right, or are honestly none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_domain::{Cookies, NewSession, RepositoryError, Session, SessionError};
use tee_session_redis_adapter::{RedisSettings, StorageFormat};
use tee_session_test_support::{CapturedLogs, Fault, FaultProxy, RedisProcess, eventually};

use tokio::time::{sleep, timeout};

use crate::{Sessions, base_url, cookies, sessions_with, settings};

const COMMAND_TIMEOUT: Duration = Duration::from_millis(200);

/// Twice the time of a command, and what a busy machine adds.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1_000);

/// A thousand reads through damaged connections.
const READ_WITHIN: Duration = Duration::from_secs(60);

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

struct Faulty {
    proxy: FaultProxy,
    settings: RedisSettings,
    _redis: RedisProcess,
}

impl Faulty {
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
#[case::stalled(Fault::Stall)]
#[case::requests_swallowed(Fault::SwallowRequests)]
#[case::answers_swallowed(Fault::SwallowAnswers)]
#[case::cut_within_an_answer(Fault::CutAfter(3))]
#[case::cut_before_an_answer(Fault::CutAfter(0))]
#[case::reset_within_an_answer(Fault::ResetAfter(3))]
#[case::too_slow(Fault::Delay(Duration::from_millis(600)))]
#[tokio::test]
async fn calls_are_unavailable_in_time_and_all_is_well_afterwards(#[case] fault: Fault) {
    let faulty = Faulty::start().await;
    let sessions = sessions_with(&faulty.settings).await;
    let kept = sessions.store(cookies(), base_url()).await.unwrap();
    faulty.proxy.set(fault);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        let got = sessions.get(&kept.token).await.unwrap_err();
        let stored = sessions.store(cookies(), base_url()).await.unwrap_err();
        let deleted = sessions.exists(&kept.token).await.unwrap_err();
        assert!(asked.elapsed() < 3 * ANSWERED_WITHIN, "{fault:?}");
        for error in [got, stored, deleted] {
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
async fn a_slow_redis_is_waited_for_within_the_time_of_a_command() {
    let faulty = Faulty::start().await;
    let patient = faulty.settings.clone();
    let patient = patient.with_command_timeout(Duration::from_secs(5));
    let sessions = sessions_with(&patient).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    faulty.proxy.set(Fault::Delay(Duration::from_millis(60)));
    for _ in 0..10 {
        sessions.get(&new.token).await.unwrap();
    }
}

/// Answers that fit the questions of others: the connection is ended as soon as that shows, and not
/// only when the next heartbeat does.
#[tokio::test]
async fn a_connection_whose_answers_are_out_of_step_is_ended_at_once() {
    let logs = CapturedLogs::start();
    let faulty = Faulty::start().await;
    // Nobody gives up on an answer before another's has come in its place.
    let patient = faulty.settings.clone();
    let patient = patient.with_command_timeout(Duration::from_secs(3));
    let sessions = Arc::new(sessions_with(&patient).await);
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
    // The next heartbeat is a second away.
    let lost = eventually(RECOVERED_WITHIN, async || {
        !logs.events("Redis connection lost").is_empty()
    })
    .await;
    assert!(lost < Duration::from_millis(500), "{lost:?}");
    assert!(logs.text().contains("an answer did not fit its question"));
    eventually(RECOVERED_WITHIN, async || {
        sessions.get(&kept.token).await.is_ok()
    })
    .await;
    readers.abort();
}

/// Of many sessions read at the same time through answers that are damaged at random, nobody
/// ever gets another's: neither when a frame is cut, nor when its length is another one.
#[rstest]
#[case::sealed(StorageFormat::Sealed)]
#[case::plain(StorageFormat::Plain)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_answers_never_give_one_session_to_the_token_of_another(
    #[case] format: StorageFormat,
) {
    const READERS: usize = 8;
    const READS: usize = 1_000;
    const DAMAGED: usize = 50;
    let faulty = Faulty::start().await;
    let settings = faulty.settings.clone().with_storage_format(format);
    let sessions = Arc::new(sessions_with(&settings).await);
    let stored = Arc::new(store_many(&sessions).await);
    let (right, none) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (sessions, stored) = (Arc::clone(&sessions), Arc::clone(&stored));
            let (right, none) = (Arc::clone(&right), Arc::clone(&none));
            tokio::spawn(async move {
                let enough = || {
                    let (right, none) = (&right, &none);
                    right.load(Ordering::Relaxed) >= READS
                        && none.load(Ordering::Relaxed) >= DAMAGED
                };
                while !enough() {
                    let new = &stored[fastrand::usize(..stored.len())];
                    match sessions.get(&new.token).await {
                        Ok(active) => {
                            let owner = owner_of(&active.session);
                            let expected = owner_of(&new.session);
                            assert!(is_of(owner, expected), "{owner:?} for {expected:?}");
                            right.fetch_add(1, Ordering::Relaxed);
                        }
                        // A damaged reply may say that there is none, or be no session.
                        Err(_) => {
                            none.fetch_add(1, Ordering::Relaxed);
                            // A lost connection takes a moment to come back.
                            sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
            })
        })
        .collect();
    let breaking = async {
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
                eventually(READ_WITHIN, async || {
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
        () = breaking => {}
        read = timeout(READ_WITHIN, all_read) => read.expect("reads go on between the faults"),
    }
}

/// Each session says in its cookie whose it is: many of one letter, of a length that no other
/// session with that letter has.
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

/// In a plain record a damaged byte may go unseen, in the name of the cookie as well.
fn owner_of(session: &Session) -> &str {
    session.cookies.iter().next().map_or("", |(_, owner)| owner)
}

fn is_of(owner: &str, expected: &str) -> bool {
    let same = owner.chars().zip(expected.chars()).filter(|(a, b)| a == b);
    owner.chars().count() == expected.len() && same.count() >= expected.len() / 2
}
