//! Combinations of storage formats for tests: one instance stores sessions, and another instance
//! accesses the stored sessions.

use fred::types::Value;
use tee_session_domain::{
    Login, NewSession, SessionAttributes, SessionId, SessionManager, SessionRepository,
};
use tee_session_redis_adapter::RedisSettings;
use tee_session_test_support::RedisProcess;

use crate::{Sessions, base_url, cookies, plain_settings, sessions_with, settings};

/// A combination of two storage formats: the format of the stored records, and the format that is
/// set on the instance that accesses the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Sealed (encrypted) records, accessed by an instance with the storage format `sealed`.
    Sealed,
    /// Plain records, accessed by an instance with the storage format `plain`.
    Plain,
    /// Plain records, accessed by an instance that accepts plain records and seals (encrypts) each
    /// record on access.
    SealOnAccess,
    /// Sealed (encrypted) records, accessed by an instance that was rolled back to the storage
    /// format `plain`.
    RolledBack,
}

impl Mode {
    /// Returns the settings of the first instance, which stores the sessions.
    pub(crate) fn writer(self, url: &str) -> RedisSettings {
        match self {
            Self::Sealed | Self::RolledBack => settings(url),
            Self::Plain | Self::SealOnAccess => plain_settings(url),
        }
    }

    /// Returns the settings of the second instance, which accesses and changes the stored sessions.
    pub(crate) fn changer(self, url: &str) -> RedisSettings {
        match self {
            Self::Sealed => settings(url),
            Self::SealOnAccess => settings(url).accepting_plain().unwrap(),
            Self::Plain | Self::RolledBack => plain_settings(url),
        }
    }

    /// Connects two instances: the first stores the sessions of a test, and the second reads and
    /// changes these sessions.
    pub(crate) async fn start_both(self, url: &str) -> (Sessions, Sessions) {
        (
            sessions_with(&self.writer(url)).await,
            sessions_with(&self.changer(url)).await,
        )
    }
}

/// Returns the names of all keys in Redis, in alphabetical order.
pub(crate) async fn all_keys(redis: &RedisProcess) -> Vec<String> {
    let keys = redis.command(&["KEYS", "*"]).await.into_array();
    let mut keys: Vec<_> = keys.iter().filter_map(Value::as_string).collect();
    keys.sort_unstable();
    keys
}

/// Sends a command to Redis and returns the integer in the reply.
pub(crate) async fn integer_reply(redis: &RedisProcess, command: &[&str]) -> i64 {
    redis.command(command).await.as_i64().unwrap()
}

/// Creates a session that belongs to `subject`.
pub(crate) async fn store_session_of<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &str,
) -> NewSession {
    sessions.store_login(login_of(subject)).await.unwrap()
}

/// Returns the input for creating a session that belongs to `subject` and has the label
/// `telephone`.
pub(crate) fn login_of(subject: &str) -> Login {
    Login {
        attributes: SessionAttributes {
            label: Some("telephone".parse().unwrap()),
            ..SessionAttributes::of_subject(subject.parse().unwrap())
        },
        ..Login::new(cookies(), base_url())
    }
}

/// Returns the ids of all live sessions of `subject`, in the order in which the session manager
/// lists the sessions. Each page that is read contains at most `limit` sessions.
pub(crate) async fn list_all_ids<R: SessionRepository>(
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
