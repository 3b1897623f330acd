//! Records that the service of commit 9cb3a1f wrote: every call serves them as if they were its own.
//!
//! They are in `old_records.json`, which `scripts/upgrade-test --record` writes. The reverse, old
//! binaries that serve new records, is what `scripts/upgrade-test` runs.

use std::time::Duration;

use fred::{interfaces::KeysInterface, types::Expiration};
use rstest::rstest;
use serde_json::Value;
use tee_session_domain::{
    BaseUrl, Cookies, Login, Session, SessionError, SessionId, SessionPatch, SessionRepository,
    SessionToken, SubjectIndex,
};
use tee_session_test_support::{RedisProcess, eventually};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    Sessions,
    modes::{Mode, keys, number, of_subject},
    plain_key, sealed_key, sessions_with,
    subjects::{MEMBER, member},
};

const FIXTURE: &str = include_str!("old_records.json");

const TTL: Duration = Duration::from_secs(1_800);

/// An old session, and what it must hold.
struct Old {
    token: SessionToken,
    id: SessionId,
    session: Session,
}

impl Old {
    fn of(recorded: &Value, has_stored_end: bool) -> Self {
        let text = |member: &str| recorded[member].as_str().unwrap();
        let cookies = recorded["cookies"].as_array().unwrap().iter();
        let cookies = cookies.map(|pair| [0, 1].map(|n| pair[n].as_str().unwrap().to_owned()));
        let cookies = Cookies::new(cookies.map(Into::into)).unwrap();
        let created_at = OffsetDateTime::parse(text("created_at"), &Rfc3339).unwrap();
        let lifetime = recorded["max_lifetime"].as_u64().filter(|_| has_stored_end);
        let login = Login {
            subject: recorded["subject"]
                .as_str()
                .map(|text| text.parse().unwrap()),
            label: recorded["label"].as_str().map(|text| text.parse().unwrap()),
            ..Login::new(cookies, BaseUrl::new(text("base_url")).unwrap())
        };
        let end = lifetime.map(|seconds| created_at + Duration::from_secs(seconds));
        Self {
            token: text("token").parse().unwrap(),
            id: text("session_id").parse().unwrap(),
            session: Session::new(login, created_at, end),
        }
    }

    /// `true` if the session manager judges it today as on the day of its creation.
    fn is_endless(&self) -> bool {
        self.session.absolute_end.is_none()
    }

    /// Sets the TTL of its key, which is one of two.
    async fn expires_in(&self, redis: &RedisProcess, seconds: &str) {
        let mut found = 0;
        for key in [plain_key(&self.token), sealed_key(&self.token)] {
            found += number(redis, &["EXPIRE", &key, seconds]).await;
        }
        assert_eq!(found, 1);
    }
}

/// A Redis with old records, and sessions of today on it.
struct Restored {
    redis: RedisProcess,
    sessions: Sessions,
    old: Vec<Old>,
}

impl Restored {
    async fn start(mode: Mode) -> Self {
        let is_plain = matches!(mode, Mode::Plain | Mode::Moving);
        let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
        let fixture = &fixture[if is_plain { "plain" } else { "sealed" }];
        let redis = RedisProcess::start().await;
        let now = number(&redis, &["EVAL", "return redis.call('TIME')[1]", "0"]).await;
        let passed = now - fixture["recorded_at"].as_i64().unwrap();
        for record in fixture["records"].as_array().unwrap() {
            restore(&redis, record, passed * 1_000).await;
        }
        let old = fixture["sessions"].as_array().unwrap().iter();
        Self {
            sessions: sessions_with(&mode.changer(&redis.url())).await,
            redis,
            old: old.map(|session| Old::of(session, !is_plain)).collect(),
        }
    }

    fn of_subject(&self) -> impl Iterator<Item = &Old> {
        self.old.iter().filter(|old| old.session.subject.is_some())
    }

    /// Returns the sessions that the index lists, also those that the session manager would not show today.
    async fn listed(&self) -> Vec<(SessionId, Option<String>)> {
        let index = self.sessions.repository().subjects();
        let page = index.list(&member(), None, 10).await.unwrap();
        let listed = page.sessions.into_iter();
        let label = |label: tee_session_domain::Label| label.as_str().to_owned();
        listed
            .map(|session| (session.id, session.label.map(label)))
            .collect()
    }

    fn expected(&self) -> Vec<(SessionId, Option<String>)> {
        let label = |old: &Old| {
            old.session
                .label
                .as_ref()
                .map(|label| label.as_str().to_owned())
        };
        self.of_subject().map(|old| (old.id, label(old))).collect()
    }
}

/// Puts a record where it was, as if it had been written a moment ago.
async fn restore(redis: &RedisProcess, record: &Value, passed_ms: i64) {
    let key = record["key"].as_str().unwrap();
    let ttl = record["ttl_ms"].as_i64().unwrap();
    let put = async |command: &str, one: &str, other: &str| {
        redis.command(&[command, key, one, other]).await;
    };
    if let Some(string) = record.get("string") {
        let value = match string.get("text") {
            Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
            None => bytes(string["hex"].as_str().unwrap()),
        };
        let (client, ttl) = (redis.client().await, Some(Expiration::PX(ttl)));
        return client
            .set(key, value.as_slice(), ttl, None, false)
            .await
            .unwrap();
    }
    if let Some(scores) = record.get("zset") {
        let moved_by = if key.ends_with(":ends") { passed_ms } else { 0 };
        for (member, score) in scores.as_object().unwrap() {
            let score: i64 = score.as_str().unwrap().parse().unwrap();
            put("ZADD", &(score + moved_by).to_string(), member).await;
        }
    }
    if let Some(fields) = record.get("hash") {
        for (field, value) in fields.as_object().unwrap() {
            put("HSET", field, value.as_str().unwrap()).await;
        }
    }
    assert_eq!(number(redis, &["PEXPIRE", key, &ttl.to_string()]).await, 1);
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits
        .map(|n| u8::from_str_radix(&hex[n..n + 2], 16).unwrap())
        .collect()
}

#[rstest]
#[tokio::test]
async fn old_records_are_read_and_touched(
    #[values(Mode::Sealed, Mode::Plain, Mode::Moving, Mode::RolledBack)] mode: Mode,
) {
    let restored = Restored::start(mode).await;
    let repository = restored.sessions.repository();
    assert_eq!(restored.old.len(), 6);
    for old in &restored.old {
        old.expires_in(&restored.redis, "100").await;
        let remaining = async || {
            let peeked = repository.peek(&old.token).await.unwrap().unwrap();
            assert_eq!(peeked.session, old.session);
            peeked.remaining.unwrap()
        };
        let read = repository.fetch(&old.token).await.unwrap();
        assert_eq!(read.as_ref(), Some(&old.session));
        assert!(remaining().await <= Duration::from_secs(100));
        let touched = repository.fetch_and_slide(&old.token, TTL).await.unwrap();
        assert_eq!(touched.as_ref(), Some(&old.session));
        assert!(remaining().await > Duration::from_secs(1_700));
        if old.is_endless() {
            let active = restored.sessions.get(&old.token).await.unwrap();
            assert_eq!(active.session, old.session);
        }
    }
}

#[rstest]
#[tokio::test]
async fn old_records_are_updated(
    #[values(Mode::Sealed, Mode::Plain, Mode::Moving, Mode::RolledBack)] mode: Mode,
) {
    let Restored { sessions, old, .. } = &Restored::start(mode).await;
    let patch = SessionPatch::default()
        .set_cookie("new", "1")
        .remove_cookie("a");
    for old in old.iter().filter(|old| old.is_endless()) {
        let updated = sessions.update(&old.token, &patch, |_| true).await.unwrap();
        assert_eq!(updated.session, patch.apply(&old.session).unwrap());
        let read = sessions.get(&old.token).await.unwrap();
        assert_eq!(read.session, updated.session);
    }
}

#[rstest]
#[tokio::test]
async fn old_records_are_rotated_and_keep_their_places(
    #[values(Mode::Sealed, Mode::Plain, Mode::Moving, Mode::RolledBack)] mode: Mode,
) {
    let mut restored = Restored::start(mode).await;
    let sessions = &restored.sessions;
    for old in restored.old.iter_mut().filter(|old| old.is_endless()) {
        let rotated = sessions.rotate(&old.token).await.unwrap();
        assert_eq!(rotated.session, old.session);
        let dead = sessions.get(&old.token).await;
        assert!(matches!(dead, Err(SessionError::NotFound)));
        let read = sessions.get(&rotated.token).await.unwrap();
        assert_eq!(read.session, old.session);
        old.id = SessionId::of(&rotated.token);
    }
    // Predecessors are removed from the index in the background.
    eventually(Duration::from_secs(5), async || {
        restored.listed().await == restored.expected()
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn old_sessions_of_a_subject_are_listed_before_new_ones_and_revoked(
    #[values(Mode::Sealed, Mode::Plain, Mode::Moving, Mode::RolledBack)] mode: Mode,
) {
    let restored = Restored::start(mode).await;
    let sessions = &restored.sessions;
    let new = of_subject(sessions, MEMBER).await;
    let mut expected = restored.expected();
    expected.push((SessionId::of(&new.token), Some("telephone".to_owned())));
    assert_eq!(restored.listed().await, expected);
    let by_id = restored.of_subject().next().unwrap();
    assert!(sessions.revoke(by_id.id).await.unwrap());
    assert_eq!(restored.listed().await, expected[1..]);
    assert_eq!(sessions.revoke_all(&member()).await.unwrap(), 3);
    for old in restored.of_subject() {
        assert_eq!(sessions.repository().peek(&old.token).await.unwrap(), None);
    }
    assert!(restored.listed().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn old_records_are_removed_and_leave_nothing(
    #[values(Mode::Sealed, Mode::Plain, Mode::Moving, Mode::RolledBack)] mode: Mode,
) {
    let restored = Restored::start(mode).await;
    let (sessions, redis) = (&restored.sessions, &restored.redis);
    for old in &restored.old {
        if old.is_endless() {
            assert!(sessions.delete(&old.token).await.unwrap());
        } else {
            assert!(sessions.repository().remove(&old.token).await.unwrap());
            sessions
                .repository()
                .subjects()
                .leave(&member(), &old.token);
        }
        assert_eq!(sessions.repository().peek(&old.token).await.unwrap(), None);
    }
    // Entries are removed in the background.
    eventually(Duration::from_secs(5), async || {
        keys(redis).await.is_empty()
    })
    .await;
}
