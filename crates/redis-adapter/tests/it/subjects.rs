//! The index of subjects in Redis: what stands there, for how long, and what others make of it.

use std::time::Duration;

use rstest::rstest;
use tee_session_domain::{
    IndexEntry, LastRevocation, NewSession, RepositoryError, SessionError, SessionId,
    SessionRepository, Subject, SubjectIndex,
};
use tee_session_redis_adapter::RedisSettings;
use tee_session_test_support::{RedisProcess, eventually};

use crate::{
    base_url, cookies,
    modes::{Mode, keys, listed, login_of, number, of_subject},
    plain, plain_key, sealed_key, sessions, sessions_with, settings,
};

/// The name of `member-4711`, as the README has it.
pub(crate) const KEYS: [&str; 3] = [
    "subject:{3dc67af763f1e8180163a3799aa3149c}:details",
    "subject:{3dc67af763f1e8180163a3799aa3149c}:ends",
    "subject:{3dc67af763f1e8180163a3799aa3149c}:order",
];

pub(crate) const MEMBER: &str = "member-4711";

pub(crate) fn member() -> Subject {
    MEMBER.parse().unwrap()
}

fn pointer(new: &NewSession) -> String {
    format!("session-id:{}", SessionId::of(&new.token))
}

pub(crate) fn entry(new: &NewSession, kept_for: Duration) -> IndexEntry {
    IndexEntry {
        subject: member(),
        token: new.token.clone(),
        session: new.session.clone(),
        succeeds: None,
        kept_for,
    }
}

async fn place(redis: &RedisProcess, new: &NewSession) -> f64 {
    let id = SessionId::of(&new.token).to_string();
    let score = redis.command(&["ZSCORE", KEYS[2], &id]).await;
    score.as_f64().expect("it is entered")
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[tokio::test]
async fn the_keys_are_those_of_the_readme_and_gone_with_the_session(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (sessions, _) = mode.both(&redis.url()).await;
    let new = of_subject(&sessions, MEMBER).await;
    let key = match mode {
        Mode::Plain => plain_key(&new.token),
        _ => sealed_key(&new.token),
    };
    let mut expected: Vec<String> = KEYS.map(str::to_owned).into();
    expected.push(key);
    if mode == Mode::Plain {
        expected.push(pointer(&new));
    }
    expected.sort_unstable();
    assert_eq!(keys(&redis).await, expected);
    let rotated = sessions.rotate(&new.token).await.unwrap();
    assert!(sessions.delete(&rotated.token).await.unwrap());
    eventually(Duration::from_secs(5), async || {
        keys(&redis).await.is_empty()
    })
    .await;
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[tokio::test]
async fn a_session_without_a_subject_leaves_nothing_but_its_record(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (sessions, _) = mode.both(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    sessions.get(&new.token).await.unwrap();
    let rotated = sessions.rotate(&new.token).await.unwrap();
    assert_eq!(keys(&redis).await.len(), 1);
    assert!(sessions.delete(&rotated.token).await.unwrap());
    assert!(keys(&redis).await.is_empty());
}

/// An entry that is kept for less does not shorten the life of the others.
#[tokio::test]
async fn the_index_outlives_every_record_that_it_names() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = of_subject(&sessions, MEMBER).await;
    let index = sessions.repository().subjects();
    let shorter = entry(&new, Duration::from_secs(60));
    index.enter(&shorter).await.unwrap();
    for key in KEYS {
        let ttl = number(&redis, &["PTTL", key]).await;
        assert!((5_390_000..=5_400_000).contains(&ttl), "{key}: {ttl}");
        redis.command(&["PERSIST", key]).await;
    }
    index.enter(&shorter).await.unwrap();
    for key in KEYS {
        let ttl = number(&redis, &["PTTL", key]).await;
        assert!((50_000..=60_000).contains(&ttl), "{key}: {ttl}");
    }
}

/// A thief of the database file sees when a session was created and what it is called, and whose it
/// is only if he guesses the subject.
#[tokio::test]
async fn the_dump_of_sealed_sessions_holds_neither_the_subject_nor_the_token() {
    const DUMP_AS_IT_IS: [&str; 4] = ["--save", "", "--rdbcompression", "no"];
    let leaked = async |settings: fn(&str) -> RedisSettings| {
        let redis = RedisProcess::start_with(&DUMP_AS_IT_IS).await;
        let monitor = redis.monitor().await;
        let sessions = sessions_with(&settings(&redis.url())).await;
        let new = of_subject(&sessions, MEMBER).await;
        sessions.get(&new.token).await.unwrap();
        let new = sessions.rotate(&new.token).await.unwrap();
        assert_eq!(listed(&sessions, MEMBER, 10).await.len(), 1);
        redis.command(&["SAVE"]).await;
        sessions.revoke_all(&member()).await.unwrap();
        let (dump, commands) = (redis.dump(), monitor.text().await);
        [MEMBER, new.token.expose_secret(), "telephone"].map(|text| {
            let mut dumped = dump.windows(text.len());
            let is_dumped = dumped.any(|bytes| bytes == text.as_bytes());
            is_dumped || commands.contains(text)
        })
    };
    assert_eq!(leaked(settings).await, [false, false, true]);
    assert_eq!(leaked(plain).await, [true, true, true]);
}

/// Who administers finds a session by what its record's keys may be, wherever it stands.
#[rstest]
#[case::plain(Mode::Plain)]
#[case::moving(Mode::Moving)]
#[case::rolled_back(Mode::RolledBack)]
#[tokio::test]
async fn sessions_are_listed_and_revoked_wherever_they_stand(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, admin) = mode.both(&redis.url()).await;
    for is_accessed in [false, true] {
        let one = of_subject(&writer, MEMBER).await;
        let other = of_subject(&writer, MEMBER).await;
        if is_accessed {
            admin.get(&one.token).await.unwrap();
            admin.get(&other.token).await.unwrap();
        }
        let ids = [&one, &other].map(|new| SessionId::of(&new.token));
        assert_eq!(listed(&admin, MEMBER, 10).await, ids);
        assert!(admin.revoke(ids[0]).await.unwrap());
        assert!(!admin.revoke(ids[0]).await.unwrap());
        assert_eq!(listed(&admin, MEMBER, 10).await, ids[1..]);
        assert_eq!(admin.revoke_all(&member()).await.unwrap(), 1);
        for new in [&one, &other] {
            assert!(!writer.exists(&new.token).await.unwrap());
            assert!(!admin.exists(&new.token).await.unwrap());
        }
        // What tells when the last revocation was.
        assert_eq!(keys(&redis).await, [KEYS[0]]);
    }
}

/// As a session has one before its record stands: it is taken out when it has none after a while.
#[tokio::test]
async fn an_entry_without_a_record_is_not_listed_and_goes_after_a_while() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = of_subject(&sessions, MEMBER).await;
    let id = SessionId::of(&new.token).to_string();
    redis.command(&["DEL", &sealed_key(&new.token)]).await;
    assert!(listed(&sessions, MEMBER, 10).await.is_empty());
    assert_eq!(number(&redis, &["ZCARD", KEYS[2]]).await, 1);
    let details = redis.command(&["HGET", KEYS[0], &id]).await;
    let details = details.as_string().unwrap();
    let (entered, rest) = details.split_once(' ').unwrap();
    let earlier = entered.parse::<u64>().unwrap() - 31_000;
    redis
        .command(&["HSET", KEYS[0], &id, &format!("{earlier} {rest}")])
        .await;
    assert!(listed(&sessions, MEMBER, 10).await.is_empty());
    assert!(keys(&redis).await.is_empty());
}

#[tokio::test]
async fn entries_that_have_ended_are_taken_out_by_the_next_that_is_entered() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let ended = of_subject(&sessions, MEMBER).await;
    let id = SessionId::of(&ended.token).to_string();
    redis.command(&["ZADD", KEYS[1], "1000", &id]).await;
    of_subject(&sessions, MEMBER).await;
    for (count, key) in ["HLEN", "ZCARD", "ZCARD"].into_iter().zip(KEYS) {
        assert_eq!(number(&redis, &[count, key]).await, 1, "{key}");
    }
}

/// More than are looked at together, dead ones before them, and all in one place, as sessions that
/// took each other's place are.
#[rstest]
#[case::places_of_their_own(false)]
#[case::one_place(true)]
#[tokio::test]
async fn a_long_list_has_each_session_once(#[case] is_one_place: bool) {
    const DEAD: usize = 150;
    const LIVE: usize = 80;
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let mut all = Vec::new();
    for _ in 0..DEAD + LIVE {
        all.push(of_subject(&sessions, MEMBER).await);
    }
    for new in &all[..DEAD] {
        redis.command(&["DEL", &sealed_key(&new.token)]).await;
    }
    if is_one_place {
        for new in &all {
            let id = SessionId::of(&new.token).to_string();
            redis.command(&["ZADD", KEYS[2], "5", &id]).await;
        }
    }
    let mut expected: Vec<_> = all[DEAD..]
        .iter()
        .map(|new| SessionId::of(&new.token))
        .collect();
    if is_one_place {
        expected.sort_by_key(SessionId::to_string);
    }
    for limit in [1, 64, 79, 100] {
        assert_eq!(listed(&sessions, MEMBER, limit).await, expected);
    }
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), LIVE);
    assert_eq!(keys(&redis).await, [KEYS[0]]);
}

#[tokio::test]
async fn places_follow_each_other_and_a_successor_takes_that_of_its_predecessor() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let first = of_subject(&sessions, MEMBER).await;
    // As by a clock that was ahead.
    let ahead = "4000000000000000";
    let id = SessionId::of(&first.token).to_string();
    redis.command(&["ZADD", KEYS[2], ahead, &id]).await;
    let second = of_subject(&sessions, MEMBER).await;
    assert_eq!(place(&redis, &second).await, 4_000_000_000_000_001.0);
    let rotated = sessions.rotate(&second.token).await.unwrap();
    assert_eq!(place(&redis, &rotated).await, 4_000_000_000_000_001.0);
    let index = sessions.repository().subjects();
    let revocation = index.mark_revocation(&member()).await.unwrap();
    assert_eq!(revocation, LastRevocation(4_000_000_000_000_002));
    let third = of_subject(&sessions, MEMBER).await;
    assert_eq!(place(&redis, &third).await, 4_000_000_000_000_003.0);
    // One whose predecessor is not there is no newer than that was.
    redis.command(&["DEL", KEYS[0], KEYS[1], KEYS[2]]).await;
    let rotated = sessions.rotate(&third.token).await.unwrap();
    let created_at = third.session.created_at.unix_timestamp_nanos() / 1_000;
    assert_eq!(
        place(&redis, &rotated).await,
        (created_at - 2_000_000) as f64
    );
}

#[tokio::test]
async fn without_room_sessions_are_listed_and_revoked_and_none_is_created() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = of_subject(&sessions, MEMBER).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(matches!(
        sessions.store_login(login_of(MEMBER)).await,
        Err(SessionError::Repository(RepositoryError::Full { .. }))
    ));
    assert_eq!(listed(&sessions, MEMBER, 10).await.len(), 1);
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 1);
    assert!(!sessions.exists(&new.token).await.unwrap());
}

/// What somebody else put there is no session, and stops nobody.
#[tokio::test]
async fn foreign_members_are_neither_listed_nor_in_the_way() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = of_subject(&sessions, MEMBER).await;
    for n in 0..70 {
        let member = format!("foreign-{n}");
        redis.command(&["ZADD", KEYS[2], "5", &member]).await;
    }
    assert_eq!(
        listed(&sessions, MEMBER, 3).await,
        [SessionId::of(&new.token)]
    );
    redis.command(&["ZADD", KEYS[2], "5", "foreign"]).await;
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_foreign_type_under_an_indexs_key_is_unavailable_and_stays() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    redis.command(&["SET", KEYS[2], "foreign"]).await;
    let created = sessions.store_login(login_of(MEMBER)).await;
    let listed = sessions.list(&member(), None, 1).await;
    let revoked = sessions.revoke_all(&member()).await;
    for refused in [created.map(drop), listed.map(drop), revoked.map(drop)] {
        assert!(matches!(
            refused,
            Err(SessionError::Repository(
                RepositoryError::Unavailable { .. }
            ))
        ));
    }
    assert_eq!(keys(&redis).await, [KEYS[2]]);
}

/// Before the heartbeat has seen that it is none.
#[tokio::test]
async fn a_server_that_has_become_a_replica_says_nothing_of_a_subject() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = of_subject(&sessions, MEMBER).await;
    let index = sessions.repository().subjects().clone();
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let (nobody, last) = ("nobody".parse().unwrap(), LastRevocation(0));
    let id = SessionId::of(&new.token);
    let is_refused = [
        index.stands(&nobody, &new.token, last).await.is_err(),
        index.list(&nobody, None, 1).await.is_err(),
        index.list(&member(), None, 1).await.is_err(),
        index.mark_revocation(&nobody).await.is_err(),
        index.remove_older(&nobody, last).await.is_err(),
        index.remove_by_id(id).await.is_err(),
    ];
    assert_eq!(is_refused, [true; 6]);
}

/// From whatever thread, after the runtime as well.
#[test]
fn what_nobody_waits_for_is_no_reason_to_panic() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (redis, sessions, new) = runtime.block_on(async {
        let redis = RedisProcess::start().await;
        let sessions = sessions(&redis.url()).await;
        let new = of_subject(&sessions, MEMBER).await;
        (redis, sessions, new)
    });
    let index = sessions.repository().subjects();
    index.leave(&member(), &new.token);
    runtime.block_on(eventually(Duration::from_secs(5), async || {
        number(&redis, &["ZCARD", KEYS[2]]).await == 0
    }));
    drop((redis, runtime));
    index.leave(&member(), &new.token);
    index.renew(
        entry(&new, Duration::from_secs(60)),
        Box::new(|| panic!("it cannot be renewed")),
    );
}
