//! The ways of storing, and of changing what others stored.

use fred::types::Value;
use tee_session_domain::{Login, NewSession, SessionId, SessionManager, SessionRepository};
use tee_session_redis_adapter::RedisSettings;
use tee_session_test_support::RedisProcess;

use crate::{Sessions, base_url, cookies, plain, sessions_with, settings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Sealed,
    Plain,
    /// Plain records, on an instance that seals what it accesses.
    Moving,
    /// Sealed records, on an instance that was rolled back to plain ones.
    RolledBack,
}

impl Mode {
    /// Who stores sessions.
    pub(crate) fn writer(self, url: &str) -> RedisSettings {
        match self {
            Self::Sealed | Self::RolledBack => settings(url),
            Self::Plain | Self::Moving => plain(url),
        }
    }

    /// Who changes them.
    pub(crate) fn changer(self, url: &str) -> RedisSettings {
        match self {
            Self::Sealed => settings(url),
            Self::Moving => settings(url).accepting_plain().unwrap(),
            Self::Plain | Self::RolledBack => plain(url),
        }
    }

    pub(crate) async fn both(self, url: &str) -> (Sessions, Sessions) {
        (
            sessions_with(&self.writer(url)).await,
            sessions_with(&self.changer(url)).await,
        )
    }
}

/// All keys, in order.
pub(crate) async fn keys(redis: &RedisProcess) -> Vec<String> {
    let keys = redis.command(&["KEYS", "*"]).await.into_array();
    let mut keys: Vec<_> = keys.iter().filter_map(Value::as_string).collect();
    keys.sort_unstable();
    keys
}

pub(crate) async fn number(redis: &RedisProcess, command: &[&str]) -> i64 {
    redis.command(command).await.as_i64().unwrap()
}

/// A new session of the subject.
pub(crate) async fn of_subject<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &str,
) -> NewSession {
    sessions.store_login(login_of(subject)).await.unwrap()
}

pub(crate) fn login_of(subject: &str) -> Login {
    Login {
        subject: Some(subject.parse().unwrap()),
        label: Some("telephone".parse().unwrap()),
        ..Login::new(cookies(), base_url())
    }
}

/// The subject's live sessions, by pages of `limit`.
pub(crate) async fn listed<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &str,
    limit: usize,
) -> Vec<SessionId> {
    let subject = subject.parse().unwrap();
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = sessions.list(&subject, after, limit).await.unwrap();
        assert!(page.sessions.len() <= limit);
        ids.extend(page.sessions.iter().map(|session| session.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}
