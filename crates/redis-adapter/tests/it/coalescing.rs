//! Tests of batched look-ups: several look-ups are sent to Redis as one command, and each caller
//! gets the result of its own look-up.

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
    Cookies, InsertOutcome, RepositoryError, Session, SessionAttributes, SessionRepository,
    SessionToken, StoreClock,
};
use tee_session_redis_adapter::{RedisRepository, RedisSettings};
use tee_session_test_support::RedisProcess;

use crate::{base_url, connect, connect_with, sealed_key, settings};

const TTL: Duration = Duration::from_secs(1_800);

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

/// A look-up of a session by its token, with or without a renewal of the TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookUp {
    /// Loads the session (`SessionRepository::load`).
    Read,
    /// Loads the session and renews its TTL (`SessionRepository::load_and_touch`).
    Touch,
}

impl LookUp {
    /// Returns the name of the Redis command that sends a batch of these look-ups, in lower case.
    fn batch_command(self) -> &'static str {
        match self {
            Self::Read => "mget",
            Self::Touch => "eval",
        }
    }

    async fn run(
        self,
        repository: &RedisRepository,
        token: &SessionToken,
    ) -> Result<Option<Session>, RepositoryError> {
        match self {
            Self::Read => repository.load(token).await,
            Self::Touch => repository.load_and_touch(token, TTL).await,
        }
    }

    async fn run_all(
        self,
        repository: &RedisRepository,
        tokens: &[SessionToken],
    ) -> Vec<Result<Option<Session>, RepositoryError>> {
        join_all(tokens.iter().map(|token| self.run(repository, token))).await
    }
}

fn session_of(owner: &str) -> Session {
    Session {
        cookies: Cookies::new([("OWNER".to_owned(), owner.to_owned())]).unwrap(),
        base_url: base_url(),
        created_at: StoreClock::from_system().now(),
        absolute_end: None,
        attributes: SessionAttributes::default(),
    }
}

fn owner_of(session: &Session) -> &str {
    session.cookies.iter().next().unwrap().1.unwrap()
}

/// Stores `count` sessions and returns their tokens. The first cookie of each session contains the
/// index of its token in the returned list.
async fn store_many(repository: &RedisRepository, count: usize) -> Vec<SessionToken> {
    let tokens: Vec<_> = (0..count).map(|_| SessionToken::generate()).collect();
    for (number, token) in tokens.iter().enumerate() {
        let session = session_of(&number.to_string());
        let inserted = repository.insert(token, &session, TTL).await.unwrap();
        assert_eq!(inserted, InsertOutcome::Inserted);
    }
    tokens
}

/// Returns the number of executed and of rejected calls for each Redis command since the last
/// `CONFIG RESETSTAT`.
async fn command_counts(redis: &RedisProcess) -> HashMap<String, (u64, u64)> {
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

async fn count_calls(redis: &RedisProcess, command: &str) -> u64 {
    command_counts(redis)
        .await
        .get(command)
        .map_or(0, |calls| calls.0)
}

async fn reset_command_counts(redis: &RedisProcess) {
    redis.command(&["CONFIG", "RESETSTAT"]).await;
}

/// Sends groups of 65, 64, 66 and 200 concurrent look-ups, and counts the batches. A batch contains
/// at most 64 look-ups. The first look-up of the first group is sent alone, because no other
/// look-up is in progress. After a batch, the first look-up of the next group waits for a batch.
#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch)]
#[tokio::test]
async fn concurrent_session_look_ups_are_sent_to_redis_in_batches_of_at_most_64(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let tokens = store_many(&repository, 200).await;
    for (count, batches) in [(65, 1), (64, 1), (66, 2), (200, 4)] {
        reset_command_counts(&redis).await;
        let found = look_up.run_all(&repository, &tokens[..count]).await;
        for (number, found) in found.into_iter().enumerate() {
            assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
        }
        assert_eq!(
            count_calls(&redis, look_up.batch_command()).await,
            batches,
            "{count}"
        );
    }
}

/// Sends batches, and then look-ups one after the other. Each of the later look-ups is sent without
/// a batch.
#[tokio::test]
async fn session_look_ups_one_after_another_are_not_sent_as_a_batch() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let tokens = store_many(&repository, 5).await;
    for look_up in [LookUp::Read, LookUp::Touch] {
        look_up.run_all(&repository, &tokens).await;
    }
    reset_command_counts(&redis).await;
    for token in &tokens {
        assert!(
            LookUp::Read
                .run(&repository, token)
                .await
                .unwrap()
                .is_some()
        );
        assert!(
            LookUp::Touch
                .run(&repository, token)
                .await
                .unwrap()
                .is_some()
        );
    }
    let calls = command_counts(&redis).await;
    assert_eq!(calls["get"].0, 10);
    assert_eq!(calls["expire"].0, 5);
    assert!(!calls.contains_key("eval") && !calls.contains_key("mget"));
}

#[tokio::test]
async fn batch_of_session_look_ups_renews_the_ttl_of_each_session() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let client = redis.client().await;
    let tokens = store_many(&repository, 20).await;
    for token in &tokens {
        client
            .expire::<i64, _>(sealed_key(token), 100, None)
            .await
            .unwrap();
    }
    for found in LookUp::Touch.run_all(&repository, &tokens).await {
        assert!(found.unwrap().is_some());
    }
    for token in &tokens {
        let ttl: i64 = client.ttl(sealed_key(token)).await.unwrap();
        assert!((1_780..=1_800).contains(&ttl), "{ttl}");
    }
}

/// Looks up 30 sessions at the same time, with three different TTLs. Each session gets the TTL of
/// its own look-up.
#[tokio::test]
async fn concurrent_look_ups_with_different_ttls_give_each_session_the_ttl_of_its_own_look_up() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let client = redis.client().await;
    let tokens = store_many(&repository, 30).await;
    let ttl_of = |number: usize| 1_000 + 100 * (number as u64 % 3);
    let touched = tokens.iter().enumerate().map(|(number, token)| {
        repository.load_and_touch(token, Duration::from_secs(ttl_of(number)))
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

/// Removes the expiry of all records. A batch of look-ups then sets the expiry of each record
/// again, as single look-ups do.
#[tokio::test]
async fn batch_of_session_look_ups_sets_an_expiry_on_records_without_an_expiry() {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let client = redis.client().await;
    let tokens = store_many(&repository, 10).await;
    for token in &tokens {
        client.persist::<i64, _>(sealed_key(token)).await.unwrap();
    }
    for found in LookUp::Touch.run_all(&repository, &tokens).await {
        assert!(found.unwrap().is_some());
    }
    for token in &tokens {
        assert!(client.ttl::<i64, _>(sealed_key(token)).await.unwrap() > 0);
    }
}

/// Sends a batch with three bad keys: a list instead of a string, a value above 1 MiB, and a
/// missing key. The look-ups of these three keys fail or return `None`. All other look-ups succeed.
/// The TTL of the list is not changed.
#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch)]
#[tokio::test]
async fn invalid_or_missing_record_in_a_batch_of_look_ups_affects_only_its_own_look_up(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let client = redis.client().await;
    let tokens = store_many(&repository, 20).await;
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
    let found = look_up.run_all(&repository, &tokens).await;
    for (number, found) in found.into_iter().enumerate() {
        match (number, look_up) {
            // MGET returns null for a list, so the look-up returns `None`.
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

/// Cancels 10 of 30 callers before their batch is sent. The look-ups of the cancelled callers are
/// not sent, and the other 20 callers get their own results.
#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch)]
#[tokio::test]
async fn look_up_of_a_cancelled_caller_is_not_sent_and_other_callers_get_their_results(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let tokens = store_many(&repository, 30).await;
    reset_command_counts(&redis).await;
    let monitor = redis.monitor().await;
    let mut look_ups: Vec<_> = tokens
        .iter()
        .map(|token| Box::pin(look_up.run(&repository, token)))
        .collect();
    for look_up in &mut look_ups {
        assert!(futures_util::poll!(look_up).is_pending());
    }
    // The last ten look-ups are queued for a batch that is not yet sent.
    let cancelled = look_ups.split_off(20);
    drop(cancelled);
    for (number, found) in join_all(look_ups).await.into_iter().enumerate() {
        assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
    }
    let commands = monitor.text().await;
    assert!(commands.contains(&sealed_key(&tokens[19])));
    assert!(
        !commands.contains(&sealed_key(&tokens[20])),
        "the look-up of a cancelled caller was sent"
    );
    // Look-ups after the cancellation are sent.
    for found in look_up.run_all(&repository, &tokens).await {
        assert!(found.unwrap().is_some());
    }
}

/// Uses settings that allow both sealed (encrypted) and plain records. Each look-up then reads two
/// keys with separate commands and not in a batch.
#[tokio::test]
async fn look_ups_that_try_both_the_encrypted_and_the_unencrypted_record_are_not_batched() {
    let redis = RedisProcess::start().await;
    let tokens = store_many(&connect(&redis.url()).await, 20).await;
    let with_two_keys: [RedisSettings; 2] = [
        settings(&redis.url()).accepting_plain().unwrap(),
        crate::plain_settings(&redis.url()),
    ];
    for settings in with_two_keys {
        let repository = connect_with(&settings).await;
        reset_command_counts(&redis).await;
        for look_up in [LookUp::Read, LookUp::Touch] {
            for found in look_up.run_all(&repository, &tokens).await {
                assert!(found.unwrap().is_some());
            }
        }
        let calls = command_counts(&redis).await;
        assert!(!calls.contains_key("eval") && !calls.contains_key("mget"));
    }
}

/// Stores a value such as `message`, the first word of a Redis pub/sub message, under a session
/// key, and looks the key up in a batch. The client must not treat the reply as a pub/sub message.
/// The remaining look-ups of the batch must get their own sessions.
#[rstest]
#[case::look_ups_without_ttl_renewal(LookUp::Read)]
#[case::look_ups_with_ttl_renewal(LookUp::Touch)]
#[tokio::test]
async fn stored_value_equal_to_a_pubsub_keyword_does_not_affect_other_look_ups_of_the_batch(
    #[case] look_up: LookUp,
) {
    let redis = RedisProcess::start().await;
    let repository = connect(&redis.url()).await;
    let tokens = store_many(&repository, 6).await;
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
            // In the second round at the latest, the first look-up is also part of the batch.
            for _ in 0..2 {
                let found = look_up.run_all(&repository, &tokens[..count]).await;
                for (number, found) in found.into_iter().enumerate().skip(1) {
                    assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
                }
            }
        }
    }
}

/// Checks that every look-up returns the session of its own token, while about one in eight
/// look-ups is cancelled before or after its batch is sent. A debug build checks 300,000 results. A
/// release build is ten times as fast and checks five million results.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_caller_gets_the_session_of_its_own_token_while_other_callers_are_cancelled() {
    const SESSIONS: usize = 2_000;
    const CALLERS: usize = 64;
    const RESULTS: usize = if cfg!(debug_assertions) {
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
    let tokens: Arc<Vec<_>> = Arc::new(store_many(&repository, SESSIONS).await);
    let (results, cancelled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (repository, tokens) = (repository.clone(), Arc::clone(&tokens));
            let (results, cancelled) = (Arc::clone(&results), Arc::clone(&cancelled));
            let look_up = [LookUp::Read, LookUp::Touch][caller % 2];
            tokio::spawn(async move {
                while results.load(Ordering::Relaxed) < RESULTS {
                    let number = fastrand::usize(..SESSIONS);
                    let pending = Box::pin(look_up.run(&repository, &tokens[number]));
                    let found = if fastrand::u8(..) < 32 {
                        let cancel = Box::pin(async {
                            for _ in 0..fastrand::u8(..4) {
                                tokio::task::yield_now().await;
                            }
                        });
                        match select(pending, cancel).await {
                            Either::Left((found, _)) => found,
                            Either::Right(_) => {
                                cancelled.fetch_add(1, Ordering::Relaxed);
                                continue;
                            }
                        }
                    } else {
                        pending.await
                    };
                    assert_eq!(owner_of(&found.unwrap().unwrap()), number.to_string());
                    results.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(cancelled.load(Ordering::Relaxed) > RESULTS / 100);
}
