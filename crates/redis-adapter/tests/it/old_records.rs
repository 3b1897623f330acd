//! Tests of records that the service of commit 9cb3a1f wrote. Every operation must handle these old
//! records like current records.
//!
//! `scripts/upgrade-test --record` writes the old records to `old_records.json`.
//! `scripts/upgrade-test` tests the reverse case, in which old binaries read current records.

use std::time::Duration;

use fred::{interfaces::KeysInterface, types::Expiration};
use rstest::rstest;
use serde_json::Value;
use tee_session_domain::{
    BaseUrl, Cookies, Login, Session, SessionAttributes, SessionError, SessionId, SessionPatch,
    SessionRepository, SessionToken, SubjectIndex,
};
use tee_session_test_support::{RedisProcess, eventually};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    Sessions,
    modes::{Mode, all_keys, integer_reply, store_session_of},
    plain_key, sealed_key, sessions_with,
    subjects::{MEMBER, member},
};

const FIXTURE: &str = include_str!("old_records.json");

const TTL: Duration = Duration::from_secs(1_800);

/// A session of the old service, with its expected content.
struct OldSession {
    token: SessionToken,
    id: SessionId,
    session: Session,
}

impl OldSession {
    fn of(recorded: &Value, has_stored_end: bool) -> Self {
        let text = |member: &str| recorded[member].as_str().unwrap();
        let cookies = recorded["cookies"].as_array().unwrap().iter();
        let cookies = cookies.map(|pair| [0, 1].map(|n| pair[n].as_str().unwrap().to_owned()));
        let cookies = Cookies::new(cookies.map(|[name, value]| (name, value))).unwrap();
        let created_at = OffsetDateTime::parse(text("created_at"), &Rfc3339).unwrap();
        let lifetime = recorded["max_lifetime"].as_u64().filter(|_| has_stored_end);
        let subject = recorded["subject"]
            .as_str()
            .map(|text| SessionAttributes::of_subject(text.parse().unwrap()));
        let login = Login {
            attributes: SessionAttributes {
                label: recorded["label"].as_str().map(|text| text.parse().unwrap()),
                ..subject.unwrap_or_default()
            },
            ..Login::new(cookies, BaseUrl::new(text("base_url")).unwrap())
        };
        let end = lifetime.map(|seconds| created_at + Duration::from_secs(seconds));
        Self {
            token: text("token").parse().unwrap(),
            id: text("session_id").parse().unwrap(),
            session: Session::new(login, created_at, end),
        }
    }

    /// Returns `true` if the old session has no absolute lifetime. If a recorded session has one,
    /// its end is in the past, so the session manager rejects the session.
    fn has_no_absolute_end(&self) -> bool {
        self.session.absolute_end.is_none()
    }

    /// Sets the TTL of the record of the session. Panics unless the record exists under exactly one
    /// of its two possible keys.
    async fn set_ttl(&self, redis: &RedisProcess, seconds: &str) {
        let mut found = 0;
        for key in [plain_key(&self.token), sealed_key(&self.token)] {
            found += integer_reply(redis, &["EXPIRE", &key, seconds]).await;
        }
        assert_eq!(found, 1);
    }
}

/// A Redis that contains the old records, and a session manager of the current release that uses
/// this Redis.
struct RestoredRedis {
    redis: RedisProcess,
    sessions: Sessions,
    old: Vec<OldSession>,
}

impl RestoredRedis {
    async fn start(mode: Mode) -> Self {
        let is_plain = matches!(mode, Mode::Plain | Mode::SealOnAccess);
        let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
        let fixture = &fixture[if is_plain { "plain" } else { "sealed" }];
        let redis = RedisProcess::start().await;
        let now = integer_reply(&redis, &["EVAL", "return redis.call('TIME')[1]", "0"]).await;
        let passed = now - fixture["recorded_at"].as_i64().unwrap();
        for record in fixture["records"].as_array().unwrap() {
            restore_record(&redis, record, passed * 1_000).await;
        }
        let old = fixture["sessions"].as_array().unwrap().iter();
        Self {
            sessions: sessions_with(&mode.changer(&redis.url())).await,
            redis,
            old: old
                .map(|session| OldSession::of(session, !is_plain))
                .collect(),
        }
    }

    fn of_subject(&self) -> impl Iterator<Item = &OldSession> {
        self.old
            .iter()
            .filter(|old| old.session.attributes.subject.is_some())
    }

    /// Returns the id and the attributes of each session in the subject index, including sessions
    /// past the end of their absolute lifetime.
    async fn listed_sessions(&self) -> Vec<(SessionId, SessionAttributes)> {
        let index = self.sessions.repository().subjects();
        let page = index.list(&member(), None, 10).await.unwrap();
        let listed = page.sessions.into_iter();
        listed
            .map(|session| (session.id, session.attributes))
            .collect()
    }

    fn expected_sessions(&self) -> Vec<(SessionId, SessionAttributes)> {
        self.of_subject()
            .map(|old| (old.id, old.session.attributes.clone()))
            .collect()
    }
}

/// Writes a recorded value to Redis, with its original key and TTL. If the value contains end times
/// of index entries, adds `passed_ms` to each end time. `passed_ms` is the time since the
/// recording, in milliseconds.
async fn restore_record(redis: &RedisProcess, record: &Value, passed_ms: i64) {
    let key = record["key"].as_str().unwrap();
    let ttl = record["ttl_ms"].as_i64().unwrap();
    let put = async |command: &str, one: &str, other: &str| {
        redis.command(&[command, key, one, other]).await;
    };
    if let Some(string) = record.get("string") {
        let value = match string.get("text") {
            Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
            None => hex::decode(string["hex"].as_str().unwrap()).unwrap(),
        };
        let (client, ttl) = (redis.client().await, Some(Expiration::PX(ttl)));
        return client
            .set(key, value.as_slice(), ttl, None, false)
            .await
            .unwrap();
    }
    if let Some(scores) = record.get("zset") {
        let offset = if key.ends_with(":ends") { passed_ms } else { 0 };
        for (member, score) in scores.as_object().unwrap() {
            let score: i64 = score.as_str().unwrap().parse().unwrap();
            put("ZADD", &(score + offset).to_string(), member).await;
        }
    }
    if let Some(fields) = record.get("hash") {
        for (field, value) in fields.as_object().unwrap() {
            put("HSET", field, value.as_str().unwrap()).await;
        }
    }
    assert_eq!(
        integer_reply(redis, &["PEXPIRE", key, &ttl.to_string()]).await,
        1
    );
}

#[rstest]
#[tokio::test]
async fn session_records_of_an_older_release_can_be_read_and_their_ttl_can_be_renewed(
    #[values(Mode::Sealed, Mode::Plain, Mode::SealOnAccess, Mode::RolledBack)] mode: Mode,
) {
    let restored = RestoredRedis::start(mode).await;
    let repository = restored.sessions.repository();
    assert_eq!(restored.old.len(), 6);
    for old in &restored.old {
        old.set_ttl(&restored.redis, "100").await;
        let remaining = async || {
            let found = repository.load_with_ttl(&old.token).await.unwrap().unwrap();
            assert_eq!(found.session, old.session);
            found.remaining.unwrap()
        };
        let read = repository.load(&old.token).await.unwrap();
        assert_eq!(read.as_ref(), Some(&old.session));
        assert!(remaining().await <= Duration::from_secs(100));
        let touched = repository.load_and_touch(&old.token, TTL).await.unwrap();
        assert_eq!(touched.as_ref(), Some(&old.session));
        assert!(remaining().await > Duration::from_secs(1_700));
        if old.has_no_absolute_end() {
            let active = restored.sessions.get(&old.token).await.unwrap();
            assert_eq!(active.session, old.session);
        }
    }
}

#[rstest]
#[tokio::test]
async fn session_records_of_an_older_release_can_be_updated(
    #[values(Mode::Sealed, Mode::Plain, Mode::SealOnAccess, Mode::RolledBack)] mode: Mode,
) {
    let RestoredRedis { sessions, old, .. } = &RestoredRedis::start(mode).await;
    let patch = SessionPatch::default()
        .set_cookie("new", "1")
        .remove_cookie("a");
    for old in old.iter().filter(|old| old.has_no_absolute_end()) {
        let updated = sessions.update(&old.token, &patch, |_| true).await.unwrap();
        assert_eq!(updated.session, patch.apply(&old.session).unwrap());
        let read = sessions.get(&old.token).await.unwrap();
        assert_eq!(read.session, updated.session);
    }
}

#[rstest]
#[tokio::test]
async fn session_of_an_older_release_keeps_its_position_in_the_subject_index_after_a_rotation(
    #[values(Mode::Sealed, Mode::Plain, Mode::SealOnAccess, Mode::RolledBack)] mode: Mode,
) {
    let mut restored = RestoredRedis::start(mode).await;
    let sessions = &restored.sessions;
    for old in restored
        .old
        .iter_mut()
        .filter(|old| old.has_no_absolute_end())
    {
        let rotated = sessions.rotate(&old.token).await.unwrap();
        assert_eq!(rotated.session, old.session);
        let by_old_token = sessions.get(&old.token).await;
        assert!(matches!(by_old_token, Err(SessionError::NotFound)));
        let read = sessions.get(&rotated.token).await.unwrap();
        assert_eq!(read.session, old.session);
        old.id = SessionId::of(&rotated.token);
    }
    // The index entries of the old tokens are removed in the background.
    eventually(Duration::from_secs(5), async || {
        restored.listed_sessions().await == restored.expected_sessions()
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn sessions_of_an_older_release_are_listed_before_new_sessions_and_can_be_revoked(
    #[values(Mode::Sealed, Mode::Plain, Mode::SealOnAccess, Mode::RolledBack)] mode: Mode,
) {
    let restored = RestoredRedis::start(mode).await;
    let sessions = &restored.sessions;
    let new = store_session_of(sessions, MEMBER).await;
    let mut expected = restored.expected_sessions();
    expected.push((SessionId::of(&new.token), new.session.attributes));
    assert_eq!(restored.listed_sessions().await, expected);
    let by_id = restored.of_subject().next().unwrap();
    assert!(sessions.revoke(by_id.id).await.unwrap());
    assert_eq!(restored.listed_sessions().await, expected[1..]);
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 3);
    for old in restored.of_subject() {
        assert_eq!(
            sessions
                .repository()
                .load_with_ttl(&old.token)
                .await
                .unwrap(),
            None
        );
    }
    assert!(restored.listed_sessions().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn deleting_all_sessions_of_an_older_release_leaves_no_keys_in_redis(
    #[values(Mode::Sealed, Mode::Plain, Mode::SealOnAccess, Mode::RolledBack)] mode: Mode,
) {
    let restored = RestoredRedis::start(mode).await;
    let (sessions, redis) = (&restored.sessions, &restored.redis);
    for old in &restored.old {
        if old.has_no_absolute_end() {
            assert!(sessions.delete(&old.token).await.unwrap());
        } else {
            assert!(sessions.repository().remove(&old.token).await.unwrap());
            sessions
                .repository()
                .subjects()
                .remove_entry(&member(), &old.token);
        }
        assert_eq!(
            sessions
                .repository()
                .load_with_ttl(&old.token)
                .await
                .unwrap(),
            None
        );
    }
    // Index entries are removed in the background.
    eventually(Duration::from_secs(5), async || {
        all_keys(redis).await.is_empty()
    })
    .await;
}
