//! Tests of merges of `Set-Cookie` lines into session records in Redis.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_domain::{CookieUrl, MergedSession, SessionToken, SetCookieLines};
use tee_session_test_support::{Fault, FaultProxy, RedisProcess};

use crate::{
    Sessions, base_url, cookies,
    modes::{Mode, all_keys, integer_reply},
    sessions,
};

/// `Set-Cookie` lines of a site that sets the same two cookies with each answer.
const LINES: [&str; 2] = [
    "SESSIONID=d4e5f6; Path=/; Secure; HttpOnly",
    "csrf=b4c0; Path=/; Max-Age=86400",
];

pub(crate) async fn merge(
    sessions: &Sessions,
    token: &SessionToken,
    lines: &[&str],
) -> MergedSession {
    let loaded = sessions.load_for_merge(token).await.unwrap();
    let url = CookieUrl::of(&base_url()).unwrap();
    let lines = SetCookieLines::new(url, lines.iter().map(|line| (*line).to_owned()));
    let merge = sessions.merge_loaded(token, loaded, &lines, |_| true);
    merge.await.unwrap()
}

/// A merge sends `GET` and `EXPIRE` together in one round trip. If a cookie changes, the merge
/// sends a script (`EVAL`) in a second round trip.
#[tokio::test]
async fn merge_sends_get_and_expire_and_an_additional_script_only_if_a_cookie_changes() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    assert!(merge(&sessions, &new.token, &LINES).await.is_changed);
    let key = all_keys(&redis).await.remove(0);
    let commands_of = async |lines: &[&str]| -> Vec<String> {
        let monitor = redis.monitor().await;
        merge(&sessions, &new.token, lines).await;
        let text = monitor.text().await;
        let of_client = text
            .lines()
            .filter(|line| line.contains(&key) && !line.contains(" lua]"));
        let names = of_client.filter_map(|line| line.split('"').nth(1));
        names.map(str::to_owned).collect()
    };
    assert_eq!(commands_of(&LINES).await, ["GET", "EXPIRE"]);
    let rotated = ["SESSIONID=g7h8i9; Path=/; Secure", LINES[1]];
    assert_eq!(commands_of(&rotated).await, ["GET", "EXPIRE", "EVAL"]);
    assert_eq!(commands_of(&rotated).await, ["GET", "EXPIRE"]);
}

/// Each reply of Redis is delayed, so the duration of a merge shows its number of round trips.
#[tokio::test]
async fn merge_without_a_change_takes_one_round_trip_and_with_a_change_two() {
    const DELAY: Duration = Duration::from_millis(300);
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let sessions = sessions(&format!("redis://{}", proxy.address())).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    merge(&sessions, &new.token, &LINES).await;
    proxy.set(Fault::Delay(DELAY));
    // The reply to a heartbeat, or a busy machine, can delay a merge further. So the shortest of
    // several merges counts. Each merge gets a line from `line_of`.
    let shortest = async |line_of: fn(u32) -> String, round_trips: u32| -> Duration {
        let mut shortest = Duration::MAX;
        for n in 0..12 {
            let line = line_of(n);
            let started = Instant::now();
            merge(&sessions, &new.token, &[&line, LINES[1]]).await;
            shortest = shortest.min(started.elapsed());
            if shortest < (round_trips + 1) * DELAY {
                break;
            }
        }
        shortest
    };
    let without_change = shortest(|_| LINES[0].to_owned(), 1).await;
    let one_round_trip = DELAY..2 * DELAY;
    assert!(
        one_round_trip.contains(&without_change),
        "{without_change:?}"
    );
    let with_change = shortest(|n| format!("SESSIONID=n{n}; Path=/; Secure"), 2).await;
    let two_round_trips = 2 * DELAY..3 * DELAY;
    assert!(two_round_trips.contains(&with_change), "{with_change:?}");
}

/// Merges cookies in two cases: the key of the record has a TTL of 100 s, or the key has no expiry.
/// In both cases, the merge sets the TTL to the idle timeout, even if the merge changes no cookie.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[case::sealed_record_after_rollback(Mode::RolledBack)]
#[tokio::test]
async fn merge_renews_the_ttl_of_the_record_even_if_no_cookie_changes(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.start_both(&redis.url()).await;
    for expiry in [Some("100"), None] {
        let new = writer.store(cookies(), base_url()).await.unwrap();
        for is_changed in [true, false] {
            let key = all_keys(&redis).await.remove(0);
            match expiry {
                Some(seconds) => redis.command(&["EXPIRE", &key, seconds]).await,
                None => redis.command(&["PERSIST", &key]).await,
            };
            let merged = merge(&changer, &new.token, &LINES).await;
            assert_eq!(merged.is_changed, is_changed);
            let key = all_keys(&redis).await.remove(0);
            let ttl = integer_reply(&redis, &["TTL", &key]).await;
            assert!((1_700..=1_800).contains(&ttl), "{ttl}");
        }
        redis.command(&["FLUSHALL"]).await;
    }
}
