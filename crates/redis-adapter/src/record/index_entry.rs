//! The index of a subject's sessions: the keys that it stands under, and what it tells of a session.

use std::fmt::Write;

use arrayvec::ArrayString;
use aws_lc_rs::hkdf;
use serde::{Deserialize, Serialize};
use tee_session_domain::{Label, Session, SessionId, Subject};
use time::OffsetDateTime;

use super::{
    Key,
    sealed::{from_micros, to_micros},
};

/// HKDF salt, as of all that is derived from a token.
const SALT: &[u8] = b"tee-session v1";

/// HKDF info of a subject's name in Redis.
const NAME_LABEL: &[u8] = b"subject name";

const NAME_LEN: usize = 16;

/// Its keys, in one hash slot.
pub(crate) struct IndexKeys {
    /// A sorted set: each session's id by its place.
    pub(crate) order: Key,
    /// A sorted set: each session's id by when its entry ends, in milliseconds since the epoch.
    pub(crate) ends: Key,
    /// A hash: [`IndexDetails`] by the session's id, and the place of the last revocation.
    pub(crate) details: Key,
}

impl IndexKeys {
    pub(crate) fn of(subject: &Subject) -> Self {
        let name = name(subject);
        let key = |part| Key::spelled(format_args!("subject:{{{name}}}:{part}"));
        Self {
            order: key("order"),
            ends: key("ends"),
            details: key("details"),
        }
    }

    pub(crate) fn all(&self) -> [&[u8]; 3] {
        [&self.order, &self.ends, &self.details].map(Key::as_bytes)
    }
}

/// What stands for the subject in the names of keys. It tells who reads Redis nothing but whether a
/// subject that they guess is the one.
fn name(subject: &Subject) -> ArrayString<{ 2 * NAME_LEN }> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            NAME_LEN
        }
    }
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(subject.as_str().as_bytes());
    let mut bytes = [0; NAME_LEN];
    #[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8160 bytes")]
    extracted
        .expand(&[NAME_LABEL], Length)
        .and_then(|expanded| expanded.fill(&mut bytes))
        .expect("sixteen bytes");
    let mut name = ArrayString::new();
    for byte in bytes {
        #[expect(clippy::expect_used, reason = "two digits for each byte")]
        write!(name, "{byte:02x}").expect("two digits");
    }
    name
}

/// Where the key of a plain record stands, for who knows only the session's id.
pub(crate) fn pointer_key(id: SessionId) -> Key {
    Key::spelled(format_args!("session-id:{id}"))
}

/// What is told of a session without its record.
#[derive(Serialize, Deserialize)]
pub(crate) struct IndexDetails {
    /// Microseconds since the epoch.
    created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absolute_end: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Of its record, if that is a plain one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl IndexDetails {
    pub(crate) fn of(session: &Session, plain: Option<&Key>) -> Self {
        Self {
            created_at: to_micros(session.created_at),
            absolute_end: session.absolute_end.map(to_micros),
            label: session
                .label
                .as_ref()
                .map(|label| label.as_str().to_owned()),
            key: plain.map(|key| key.0.to_string()),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "texts and numbers into a Vec cannot fail"
    )]
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers")
    }

    /// `None`: they were lost, or are another's.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn created_at(&self) -> Option<OffsetDateTime> {
        from_micros(self.created_at).ok()
    }

    pub(crate) fn absolute_end(&self) -> Option<OffsetDateTime> {
        self.absolute_end
            .and_then(|micros| from_micros(micros).ok())
    }

    pub(crate) fn label(&self) -> Option<Label> {
        self.label.as_deref()?.parse().ok()
    }

    pub(crate) fn plain_key(&self) -> Option<Key> {
        Key::of_record(self.key.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` and `hashlib`, not with this code.
    #[test]
    fn the_keys_follow_the_published_test_vector() {
        let keys = IndexKeys::of(&"member-4711".parse().unwrap());
        let all = [keys.order, keys.ends, keys.details];
        let all = all.map(|key| key.0.to_string());
        assert_eq!(
            all,
            ["order", "ends", "details"]
                .map(|part| format!("subject:{{3dc67af763f1e8180163a3799aa3149c}}:{part}"))
        );
    }

    #[test]
    fn only_the_key_of_a_record_is_taken_from_an_entry() {
        let key = |key: &str| {
            let text = format!(r#"{{"created_at": 0, "key": "{key}", "more": 1}}"#);
            IndexDetails::decode(&text).unwrap().plain_key()
        };
        assert_eq!(key("session:x").unwrap().as_bytes(), b"session:x");
        assert_eq!(key("another:x"), None);
        assert_eq!(key(&format!("session:{}", "x".repeat(44))), None);
    }
}
