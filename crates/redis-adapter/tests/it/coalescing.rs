//! Look-ups that travel to Redis together, and what keeps each answer its own.

mod faults;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::interfaces::KeysInterface;
use futures_util::future::{Either, join_all, select};
use rstest::rstest;
use tee_session_domain::{
    Cookies, InsertOutcome, RepositoryError, Session, SessionRepository, SessionToken, StoreClock,
};
use tee_session_redis_adapter::{RedisRepository, RedisSettings};
use tee_session_test_support::RedisProcess;

use crate::{base_url, connected, connected_with, sealed_key, settings};

const TTL: Duration = Duration::from_secs(1_800);

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

/// The two look-ups of a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookUp {
    /// Reads the session.
    Read,
    /// Reads the session and renews its time to live.
    Touch,
}

impl LookUp {
    /// The command that carries a batch.
    fn batch(self) -> &'static str {
        match self {
            Self::Read => "mget",
            Self::Touch => "eval",
        }
    }

    async fn of(
        self,
        repository: &RedisRepository,
        token: &SessionToken,
    ) -> Result<Option<Session>, RepositoryError> {
        match self {
            Self::Read => repository.fetch(token).await,
            Self::Touch => repository.fetch_and_slide(token, TTL).await,
        }
    }

    async fn of_all(
        self,
        repository: &RedisRepository,
        tokens: &[SessionToken],
    ) -> Vec<Result<Option<Session>, RepositoryError>> {
        join_all(tokens.iter().map(|token| self.of(repository, token))).await
    }
}

fn session_of(owner: &str) -> Session {
    Session {
        cookies: Cookies::new([("OWNER".to_owned(), owner.to_owned())]).unwrap(),
        base_url: base_url(),
        created_at: StoreClock::from_system().now(),
        absolute_end: None,
        subject: None,
        label: None,
    }
}

fn owner_of(session: &Session) -> &str {
    session.cookies.iter().next().unwrap().1
}

/// Stores as many sessions, each with a cookie that names its number.
async fn stored(repository: &RedisRepository, count: usize) -> Vec<SessionToken> {
    let tokens: Vec<_> = (0..count).map(|_| SessionToken::generate()).collect();
    for (number, token) in tokens.iter().enumerate() {
        let session = session_of(&number.to_string());
        let inserted = repository.insert(token, &session, TTL).await.unwrap();
        assert_eq!(inserted, InsertOutcome::Inserted);
    }
    tokens
}

/// How often Redis ran each command since `CONFIG RESETSTAT`, and how often it rejected it.
async fn calls(redis: &RedisProcess) -> HashMap<String, (u64, u64)> {
    let info = redis.info("commandstats").await;
    let field = |values: &str, name: &str| {
        let value = values.split(',').find_map(|value| value.strip_prefix(name));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    info.lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'))
        .map(|(name, values)| {
            let counts = (field(values, "calls="), field(values, "rejected_calls="));
            (name.to_owned(), counts)
        })
        .collect()
}

async fn calls_of(redis: &RedisProcess, command: &str) -> u64 {
    calls(redis).await.get(command).map_or(0, |calls| calls.0)
}

async fn reset_calls(redis: &RedisProcess) {
    redis.command(&["CONFIG", "RESETSTAT"]).await;
}

/// The first look-up finds a quiet connection and goes alone; the others gather behind it. From then on
/// all gather, at most 64 in one command.
#[rstest]
#[case::reads(LookUp::Read)]
#[case::touches(LookUp::Touch)]
#[tokio::test]
async fn look_ups_of_one_turn_travel_as_one_command(#[case] look_up: LookUp) {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let tokens = stored(&repository, 200).await;
    for (count, batches) in [(65, 1), (64, 1), (66, 2), (200, 4)] {
        reset_calls(&redis).await;
        let found = look_up.of_all(&repository, &tokens[..count]).await;
        for (number, found) in found.into_iter().enumerate() {
            assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
        }
        assert_eq!(calls_of(&redis, look_up.batch()).await, batches, "{count}");
    }
}

#[tokio::test]
async fn a_lone_look_up_goes_as_native_commands() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let tokens = stored(&repository, 5).await;
    reset_calls(&redis).await;
    for token in &tokens {
        assert!(LookUp::Read.of(&repository, token).await.unwrap().is_some());
        assert!(
            LookUp::Touch
                .of(&repository, token)
                .await
                .unwrap()
                .is_some()
        );
    }
    let calls = calls(&redis).await;
    assert_eq!(calls["get"].0, 10);
    assert_eq!(calls["expire"].0, 5);
    assert!(!calls.contains_key("eval") && !calls.contains_key("mget"));
}

#[tokio::test]
async fn a_batch_renews_the_time_to_live_of_each_session() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let client = redis.client().await;
    let tokens = stored(&repository, 20).await;
    for token in &tokens {
        client
            .expire::<i64, _>(sealed_key(token), 100, None)
            .await
            .unwrap();
    }
    for found in LookUp::Touch.of_all(&repository, &tokens).await {
        assert!(found.unwrap().is_some());
    }
    for token in &tokens {
        let ttl: i64 = client.ttl(sealed_key(token)).await.unwrap();
        assert!((1_780..=1_800).contains(&ttl), "{ttl}");
    }
}

/// Times to live differ where policies do: each session gets its own.
#[tokio::test]
async fn look_ups_with_different_times_to_live_do_not_share_them() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let client = redis.client().await;
    let tokens = stored(&repository, 30).await;
    let ttl_of = |number: usize| 1_000 + 100 * (number as u64 % 3);
    let touched = tokens.iter().enumerate().map(|(number, token)| {
        repository.fetch_and_slide(token, Duration::from_secs(ttl_of(number)))
    });
    for found in join_all(touched).await {
        assert!(found.unwrap().is_some());
    }
    for (number, token) in tokens.iter().enumerate() {
        let ttl: u64 = client.ttl(sealed_key(token)).await.unwrap();
        assert!(
            (ttl_of(number) - 20..=ttl_of(number)).contains(&ttl),
            "{ttl}"
        );
    }
}

/// A session without an expiry gets one, as it does when it is looked up alone.
#[tokio::test]
async fn a_batch_gives_an_expiry_to_a_session_without_one() {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let client = redis.client().await;
    let tokens = stored(&repository, 10).await;
    for token in &tokens {
        client.persist::<i64, _>(sealed_key(token)).await.unwrap();
    }
    for found in LookUp::Touch.of_all(&repository, &tokens).await {
        assert!(found.unwrap().is_some());
    }
    for token in &tokens {
        assert!(client.ttl::<i64, _>(sealed_key(token)).await.unwrap() > 0);
    }
}

/// A fault of one key is the error of its own caller alone: a key of another type, a value above 1 MiB, no
/// key at all. A stranger's key keeps its time to live.
#[rstest]
#[case::reads(LookUp::Read)]
#[case::touches(LookUp::Touch)]
#[tokio::test]
async fn a_bad_key_in_a_batch_is_its_own_error_alone(#[case] look_up: LookUp) {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let client = redis.client().await;
    let tokens = stored(&repository, 20).await;
    let (list, large, gone) = (
        sealed_key(&tokens[5]),
        sealed_key(&tokens[9]),
        sealed_key(&tokens[12]),
    );
    client.del::<i64, _>(vec![&list, &gone]).await.unwrap();
    redis.command(&["RPUSH", &list, "a"]).await;
    redis.command(&["EXPIRE", &list, "7"]).await;
    let too_long = "x".repeat(1024 * 1024 + 1);
    client
        .set::<(), _, _>(&large, too_long, None, None, false)
        .await
        .unwrap();
    let found = look_up.of_all(&repository, &tokens).await;
    for (number, found) in found.into_iter().enumerate() {
        match (number, look_up) {
            // MGET answers null for a key of another type, which is no session.
            (5, LookUp::Read) | (12, _) => assert!(found.unwrap().is_none()),
            (5, LookUp::Touch) | (9, _) => assert!(
                matches!(found, Err(RepositoryError::Corrupt { .. })),
                "{number}: {found:?}"
            ),
            _ => assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string()),
        }
    }
    assert!(client.ttl::<i64, _>(&list).await.unwrap() <= 7);
}

/// A caller that goes away before its batch is sent is left out of it, and one that goes away
/// afterwards takes nobody with it.
#[rstest]
#[case::reads(LookUp::Read)]
#[case::touches(LookUp::Touch)]
#[tokio::test]
async fn a_caller_that_goes_away_harms_nobody(#[case] look_up: LookUp) {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let tokens = stored(&repository, 30).await;
    reset_calls(&redis).await;
    let monitor = redis.monitor().await;
    let mut looking_up: Vec<_> = tokens
        .iter()
        .map(|token| Box::pin(look_up.of(&repository, token)))
        .collect();
    for looking_up in &mut looking_up {
        assert!(futures_util::poll!(looking_up).is_pending());
    }
    // Those that wait for the flush of the next turn.
    let gone = looking_up.split_off(20);
    drop(gone);
    for (number, found) in join_all(looking_up).await.into_iter().enumerate() {
        assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
    }
    let heard = monitor.text().await;
    assert!(heard.contains(&sealed_key(&tokens[19])));
    assert!(
        !heard.contains(&sealed_key(&tokens[20])),
        "nobody waits for it"
    );
    // The queue goes on.
    for found in look_up.of_all(&repository, &tokens).await {
        assert!(found.unwrap().is_some());
    }
}

/// Sealed and plain places are looked up in order, on one connection: no batch.
#[tokio::test]
async fn look_ups_of_two_places_travel_alone() {
    let redis = RedisProcess::start().await;
    let tokens = stored(&connected(&redis.url()).await, 20).await;
    let of_two_places: [RedisSettings; 2] = [
        settings(&redis.url()).accepting_plain().unwrap(),
        crate::plain(&redis.url()),
    ];
    for settings in of_two_places {
        let repository = connected_with(&settings).await;
        reset_calls(&redis).await;
        for look_up in [LookUp::Read, LookUp::Touch] {
            for found in look_up.of_all(&repository, &tokens).await {
                assert!(found.unwrap().is_some());
            }
        }
        let calls = calls(&redis).await;
        assert!(!calls.contains_key("eval") && !calls.contains_key("mget"));
    }
}

/// A value that somebody else stored, such as the first word of a message of pub/sub, shifts no answers.
#[rstest]
#[case::reads(LookUp::Read)]
#[case::touches(LookUp::Touch)]
#[tokio::test]
async fn a_strangers_value_does_not_pass_for_a_message(#[case] look_up: LookUp) {
    let redis = RedisProcess::start().await;
    let repository = connected(&redis.url()).await;
    let tokens = stored(&repository, 6).await;
    for word in [
        "message",
        "pmessage",
        "smessage",
        "subscribe",
        "unsubscribe",
    ] {
        redis
            .command(&["SET", &sealed_key(&tokens[0]), word, "KEEPTTL"])
            .await;
        for count in 2..=6 {
            // The second time they gather from the first one on.
            for _ in 0..2 {
                let found = look_up.of_all(&repository, &tokens[..count]).await;
                for (number, found) in found.into_iter().enumerate().skip(1) {
                    assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
                }
            }
        }
    }
}

/// Every answer is compared with its own token, while other callers go away before their batch is sent
/// and while it is on its way. A release build, which is ten times as fast, does so with millions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_its_callers_own_while_others_go_away() {
    const SESSIONS: usize = 2_000;
    const CALLERS: usize = 64;
    const ANSWERS: usize = if cfg!(debug_assertions) {
        300_000
    } else {
        5_000_000
    };
    let redis = RedisProcess::start().await;
    let settings = settings(&redis.url()).with_command_timeout(Duration::from_secs(10));
    let repository = RedisRepository::connect_pool(&settings, 2);
    repository
        .wait_until_connected(RECOVERED_WITHIN)
        .await
        .unwrap();
    let tokens: Arc<Vec<_>> = Arc::new(stored(&repository, SESSIONS).await);
    let (answers, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (repository, tokens) = (repository.clone(), Arc::clone(&tokens));
            let (answers, gone) = (Arc::clone(&answers), Arc::clone(&gone));
            let look_up = [LookUp::Read, LookUp::Touch][caller % 2];
            tokio::spawn(async move {
                while answers.load(Ordering::Relaxed) < ANSWERS {
                    let number = fastrand::usize(..SESSIONS);
                    let looking_up = Box::pin(look_up.of(&repository, &tokens[number]));
                    let found = if fastrand::u8(..) < 32 {
                        let patience = Box::pin(async {
                            for _ in 0..fastrand::u8(..4) {
                                tokio::task::yield_now().await;
                            }
                        });
                        match select(looking_up, patience).await {
                            Either::Left((found, _)) => found,
                            Either::Right(_) => {
                                gone.fetch_add(1, Ordering::Relaxed);
                                continue;
                            }
                        }
                    } else {
                        looking_up.await
                    };
                    assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(gone.load(Ordering::Relaxed) > ANSWERS / 100);
}
