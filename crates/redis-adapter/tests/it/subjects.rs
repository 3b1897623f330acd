//! Tests of the subject index in Redis: its keys, their TTLs, and invalid or missing entries.

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
    faults::add_user_with_all_permissions,
    modes::{Mode, all_keys, integer_reply, list_all_ids, login_of, store_session_of},
    plain_key, plain_settings, sealed_key, sessions, sessions_with, settings,
};

/// Redis keys of the index of the subject `member-4711`, as listed in the README of this crate.
pub(crate) const KEYS: [&str; 3] = [
    "subject:{3dc67af763f1e8180163a3799aa3149c}:details",
    "subject:{3dc67af763f1e8180163a3799aa3149c}:ends",
    "subject:{3dc67af763f1e8180163a3799aa3149c}:order",
];

pub(crate) const MEMBER: &str = "member-4711";

pub(crate) fn member() -> Subject {
    MEMBER.parse().unwrap()
}

fn pointer_key(new: &NewSession) -> String {
    format!("session-id:{}", SessionId::of(&new.token))
}

/// Returns an index entry for the session `new` with the lifetime `kept_for`. The entry names no
/// predecessor, as for a session that was created and not rotated.
pub(crate) fn index_entry(new: &NewSession, kept_for: Duration) -> IndexEntry {
    IndexEntry {
        subject: member(),
        token: new.token.clone(),
        session: new.session.clone(),
        succeeds: None,
        kept_for,
    }
}

/// Returns the position of the session in the index: a Unix time in microseconds.
async fn index_position(redis: &RedisProcess, new: &NewSession) -> f64 {
    let id = SessionId::of(&new.token).to_string();
    let score = redis.command(&["ZSCORE", KEYS[2], &id]).await;
    score.as_f64().expect("an entry")
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[tokio::test]
async fn subject_index_keys_have_the_documented_names_and_are_removed_with_the_session(
    #[case] mode: Mode,
) {
    let redis = RedisProcess::start().await;
    let (sessions, _) = mode.start_both(&redis.url()).await;
    let new = store_session_of(&sessions, MEMBER).await;
    let key = match mode {
        Mode::Plain => plain_key(&new.token),
        _ => sealed_key(&new.token),
    };
    let mut expected: Vec<String> = KEYS.map(str::to_owned).into();
    expected.push(key);
    if mode == Mode::Plain {
        expected.push(pointer_key(&new));
    }
    expected.sort_unstable();
    assert_eq!(all_keys(&redis).await, expected);
    let rotated = sessions.rotate(&new.token).await.unwrap();
    assert!(sessions.delete(&rotated.token).await.unwrap());
    eventually(Duration::from_secs(5), async || {
        all_keys(&redis).await.is_empty()
    })
    .await;
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[tokio::test]
async fn session_without_a_subject_creates_no_subject_index_keys(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (sessions, _) = mode.start_both(&redis.url()).await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    sessions.get(&new.token).await.unwrap();
    let rotated = sessions.rotate(&new.token).await.unwrap();
    assert_eq!(all_keys(&redis).await.len(), 1);
    assert!(sessions.delete(&rotated.token).await.unwrap());
    assert!(all_keys(&redis).await.is_empty());
}

/// A login that must end older sessions keeps only the time of one round trip for this.
#[rstest]
#[case::sealed(Mode::Sealed, "DEL")]
#[case::plain(Mode::Plain, "EVAL")]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess, "EVAL")]
#[case::rolled_back_to_plain(Mode::RolledBack, "EVAL")]
#[tokio::test]
async fn session_is_removed_by_its_id_with_a_single_command(
    #[case] mode: Mode,
    #[case] command: &str,
) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.start_both(&redis.url()).await;
    let id = SessionId::of(&store_session_of(&writer, MEMBER).await.token);
    let index = changer.repository().subjects();
    let monitor = redis.monitor().await;
    assert!(index.remove_by_id(id).await.unwrap());
    let text = monitor.text().await;
    let of_session = text
        .lines()
        .filter(|line| line.contains(&id.to_string()) && !line.contains(" lua]"));
    let sent: Vec<_> = of_session
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(sent, [command]);
    assert!(!index.remove_by_id(id).await.unwrap());
    assert_eq!(
        all_keys(&redis).await.len(),
        KEYS.len(),
        "the index is left"
    );
}

/// Without the permission for `EVAL`, the commands are sent one by one.
#[rstest]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[tokio::test]
async fn plain_session_is_removed_by_its_id_without_the_permission_for_eval(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let writer = sessions_with(&mode.writer(&redis.url())).await;
    let id = SessionId::of(&store_session_of(&writer, MEMBER).await.token);
    add_user_with_all_permissions(&redis).await;
    redis.command(&["ACL", "SETUSER", "tee", "-eval"]).await;
    let url = format!("redis://tee:s3cret@127.0.0.1:{}/0", redis.port());
    let remover = sessions_with(&mode.changer(&url)).await;
    let index = remover.repository().subjects();
    assert!(index.remove_by_id(id).await.unwrap());
    assert!(!index.remove_by_id(id).await.unwrap());
    assert_eq!(
        all_keys(&redis).await.len(),
        KEYS.len(),
        "the index is left"
    );
}

/// Adds an index entry that has a shorter lifetime than the existing entry. The index keys keep
/// their longer TTL. If an index key has no TTL, the key gets the lifetime of the added entry as
/// its TTL.
#[tokio::test]
async fn subject_index_keys_live_as_long_as_the_entry_with_the_longest_lifetime() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = store_session_of(&sessions, MEMBER).await;
    let index = sessions.repository().subjects();
    let shorter = index_entry(&new, Duration::from_secs(60));
    index.add(&shorter).await.unwrap();
    for key in KEYS {
        let ttl = integer_reply(&redis, &["PTTL", key]).await;
        assert!((5_390_000..=5_400_000).contains(&ttl), "{key}: {ttl}");
        redis.command(&["PERSIST", key]).await;
    }
    index.add(&shorter).await.unwrap();
    for key in KEYS {
        let ttl = integer_reply(&redis, &["PTTL", key]).await;
        assert!((50_000..=60_000).contains(&ttl), "{key}: {ttl}");
    }
}

/// Searches the database file and the commands that Redis received for the texts of a session. If
/// the session is sealed (encrypted), the search finds only the label, which the subject index
/// stores unencrypted. The search finds neither the subject nor the token. If the session is plain
/// (unencrypted), the search finds all three, which shows that the search works.
#[tokio::test]
async fn redis_database_file_and_commands_contain_no_subject_or_token_of_encrypted_sessions() {
    const UNCOMPRESSED_DUMP: [&str; 4] = ["--save", "", "--rdbcompression", "no"];
    let leaked = async |settings: fn(&str) -> RedisSettings| {
        let redis = RedisProcess::start_with(&UNCOMPRESSED_DUMP).await;
        let monitor = redis.monitor().await;
        let sessions = sessions_with(&settings(&redis.url())).await;
        let new = store_session_of(&sessions, MEMBER).await;
        sessions.get(&new.token).await.unwrap();
        let new = sessions.rotate(&new.token).await.unwrap();
        assert_eq!(list_all_ids(&sessions, MEMBER, 10).await.len(), 1);
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
    assert_eq!(leaked(plain_settings).await, [true, true, true]);
}

/// Stores sessions with one instance, and lists and revokes the sessions with another instance. The
/// second instance must find each session, whether its record is sealed (encrypted) or plain.
#[rstest]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[case::sealed_record_after_rollback(Mode::RolledBack)]
#[tokio::test]
async fn sessions_of_a_subject_are_listed_and_revoked_in_every_storage_format(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, admin) = mode.start_both(&redis.url()).await;
    for is_accessed in [false, true] {
        let one = store_session_of(&writer, MEMBER).await;
        let other = store_session_of(&writer, MEMBER).await;
        if is_accessed {
            admin.get(&one.token).await.unwrap();
            admin.get(&other.token).await.unwrap();
        }
        let ids = [&one, &other].map(|new| SessionId::of(&new.token));
        assert_eq!(list_all_ids(&admin, MEMBER, 10).await, ids);
        assert!(admin.revoke(ids[0]).await.unwrap());
        assert!(!admin.revoke(ids[0]).await.unwrap());
        assert_eq!(list_all_ids(&admin, MEMBER, 10).await, ids[1..]);
        assert_eq!(admin.revoke_all(&member()).await.unwrap(), 1);
        for new in [&one, &other] {
            assert!(!writer.exists(&new.token).await.unwrap());
            assert!(!admin.exists(&new.token).await.unwrap());
        }
        // The remaining key contains the position of the last revocation.
        assert_eq!(all_keys(&redis).await, [KEYS[0]]);
    }
}

/// The index entry of a session is added before the record of the session is stored. An entry
/// without a record is therefore removed only if the entry was added more than 30 s ago.
#[tokio::test]
async fn subject_index_entry_without_a_session_record_is_not_listed_and_is_removed_after_30_s() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = store_session_of(&sessions, MEMBER).await;
    let id = SessionId::of(&new.token).to_string();
    redis.command(&["DEL", &sealed_key(&new.token)]).await;
    assert!(list_all_ids(&sessions, MEMBER, 10).await.is_empty());
    assert_eq!(integer_reply(&redis, &["ZCARD", KEYS[2]]).await, 1);
    let details = redis.command(&["HGET", KEYS[0], &id]).await;
    let details = details.as_string().unwrap();
    let (added_at, rest) = details.split_once(' ').unwrap();
    let earlier = added_at.parse::<u64>().unwrap() - 31_000;
    redis
        .command(&["HSET", KEYS[0], &id, &format!("{earlier} {rest}")])
        .await;
    assert!(list_all_ids(&sessions, MEMBER, 10).await.is_empty());
    assert!(all_keys(&redis).await.is_empty());
}

#[tokio::test]
async fn adding_a_subject_index_entry_removes_expired_entries() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let ended = store_session_of(&sessions, MEMBER).await;
    let id = SessionId::of(&ended.token).to_string();
    redis.command(&["ZADD", KEYS[1], "1000", &id]).await;
    store_session_of(&sessions, MEMBER).await;
    for (count, key) in ["HLEN", "ZCARD", "ZCARD"].into_iter().zip(KEYS) {
        assert_eq!(integer_reply(&redis, &[count, key]).await, 1, "{key}");
    }
}

/// Lists 80 sessions of a subject. The index of the subject begins with 150 entries without a
/// record, and a page of the index has 64 entries. In the case `same_position`, all entries have
/// the same position, so the list is in the order of the session ids.
#[rstest]
#[case::different_positions(false)]
#[case::same_position(true)]
#[tokio::test]
async fn session_list_of_several_pages_contains_each_live_session_once(
    #[case] is_same_position: bool,
) {
    const DEAD: usize = 150;
    const LIVE: usize = 80;
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let mut all = Vec::new();
    for _ in 0..DEAD + LIVE {
        all.push(store_session_of(&sessions, MEMBER).await);
    }
    for new in &all[..DEAD] {
        redis.command(&["DEL", &sealed_key(&new.token)]).await;
    }
    if is_same_position {
        for new in &all {
            let id = SessionId::of(&new.token).to_string();
            redis.command(&["ZADD", KEYS[2], "5", &id]).await;
        }
    }
    let mut expected: Vec<_> = all[DEAD..]
        .iter()
        .map(|new| SessionId::of(&new.token))
        .collect();
    if is_same_position {
        expected.sort_by_key(SessionId::to_string);
    }
    for limit in [1, 64, 79, 100] {
        assert_eq!(list_all_ids(&sessions, MEMBER, limit).await, expected);
    }
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), LIVE);
    assert_eq!(all_keys(&redis).await, [KEYS[0]]);
}

#[tokio::test]
async fn new_session_gets_a_higher_position_in_the_subject_index_and_rotation_keeps_the_position() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let first = store_session_of(&sessions, MEMBER).await;
    // The position of the first session is set far into the future, as if the clock of Redis had
    // been ahead when the session was created.
    let ahead = "4000000000000000";
    let id = SessionId::of(&first.token).to_string();
    redis.command(&["ZADD", KEYS[2], ahead, &id]).await;
    let second = store_session_of(&sessions, MEMBER).await;
    assert_eq!(
        index_position(&redis, &second).await,
        4_000_000_000_000_001.0
    );
    let rotated = sessions.rotate(&second.token).await.unwrap();
    assert_eq!(
        index_position(&redis, &rotated).await,
        4_000_000_000_000_001.0
    );
    let index = sessions.repository().subjects();
    let revocation = index.mark_revocation(&member()).await.unwrap();
    assert_eq!(revocation, LastRevocation(4_000_000_000_000_002));
    let third = store_session_of(&sessions, MEMBER).await;
    assert_eq!(
        index_position(&redis, &third).await,
        4_000_000_000_000_003.0
    );
    // If the old token has no index entry, the rotated session gets a position 2 s before the
    // creation of the session.
    redis.command(&["DEL", KEYS[0], KEYS[1], KEYS[2]]).await;
    let rotated = sessions.rotate(&third.token).await.unwrap();
    let created_at = third.session.created_at.unix_timestamp_nanos() / 1_000;
    assert_eq!(
        index_position(&redis, &rotated).await,
        (created_at - 2_000_000) as f64
    );
}

#[tokio::test]
async fn sessions_can_be_listed_and_revoked_but_not_created_when_redis_is_out_of_memory() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = store_session_of(&sessions, MEMBER).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(matches!(
        sessions.store_login(login_of(MEMBER)).await,
        Err(SessionError::Repository(RepositoryError::Full { .. }))
    ));
    assert_eq!(list_all_ids(&sessions, MEMBER, 10).await.len(), 1);
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 1);
    assert!(!sessions.exists(&new.token).await.unwrap());
}

/// Adds members that are not session ids to the index, as another program could. Listing and
/// revoking ignore these members.
#[tokio::test]
async fn subject_index_members_added_by_other_programs_are_ignored_by_list_and_revocation() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = store_session_of(&sessions, MEMBER).await;
    for n in 0..70 {
        let member = format!("foreign-{n}");
        redis.command(&["ZADD", KEYS[2], "5", &member]).await;
    }
    assert_eq!(
        list_all_ids(&sessions, MEMBER, 3).await,
        [SessionId::of(&new.token)]
    );
    redis.command(&["ZADD", KEYS[2], "5", "foreign"]).await;
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 1);
}

/// Makes the server a replica while the connection stays open. Each call of an index operation then
/// fails, because the data of a replica may be stale.
#[tokio::test]
async fn subject_index_operations_fail_after_the_redis_server_became_a_replica() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let new = store_session_of(&sessions, MEMBER).await;
    let index = sessions.repository().subjects().clone();
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let (unknown, last) = ("unknown".parse().unwrap(), LastRevocation(0));
    let id = SessionId::of(&new.token);
    let is_refused = [
        index.contains(&unknown, &new.token, last).await.is_err(),
        index.list(&unknown, None, 1).await.is_err(),
        index.list(&member(), None, 1).await.is_err(),
        index.mark_revocation(&unknown).await.is_err(),
        index.remove_older(&unknown, last).await.is_err(),
        index.remove_by_id(id).await.is_err(),
    ];
    assert_eq!(is_refused, [true; 6]);
}

/// Calls the index operations `remove_entry` and `renew`, which work in the background. The calls
/// come from a thread outside the tokio runtime, before and after the runtime has ended.
#[test]
fn background_operations_of_the_subject_index_do_not_panic_outside_a_tokio_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (redis, sessions, new) = runtime.block_on(async {
        let redis = RedisProcess::start().await;
        let sessions = sessions(&redis.url()).await;
        let new = store_session_of(&sessions, MEMBER).await;
        (redis, sessions, new)
    });
    let index = sessions.repository().subjects();
    index.remove_entry(&member(), &new.token);
    runtime.block_on(eventually(Duration::from_secs(5), async || {
        integer_reply(&redis, &["ZCARD", KEYS[2]]).await == 0
    }));
    drop((redis, runtime));
    index.remove_entry(&member(), &new.token);
    index.renew(
        index_entry(&new, Duration::from_secs(60)),
        Box::new(|| panic!("the renewal must fail")),
    );
}
