//! Index of the sessions of a subject: its Redis keys, and the details that it stores for each
//! session.

use aws_lc_rs::hkdf;
use serde::{Deserialize, Serialize};
use tee_session_domain::{Session, SessionAttributes, SessionId, Subject};
use time::OffsetDateTime;

use super::{
    attributes::IndexedAttributes,
    key::Key,
    micros::{from_micros, to_micros},
};

/// HKDF salt for the name that represents a subject in Redis keys. Values that are derived from a
/// token use the same salt.
const SALT: &[u8] = b"tee-session v1";

/// HKDF info for the name that represents a subject in Redis keys.
const NAME_LABEL: &[u8] = b"subject name";

/// Length in bytes of the name that represents a subject in Redis keys. A Redis key contains two
/// hexadecimal digits for each byte of the name.
const NAME_LEN: usize = 16;

/// The Redis keys of the index of the sessions of a subject. All three keys belong to the same hash
/// slot.
pub(crate) struct IndexKeys {
    /// Key of a sorted set of session ids. The score of a session id is the position of the session
    /// in the index. A new session gets the current time as its position, in microseconds on the
    /// clock of Redis.
    pub(crate) order: Key,
    /// Key of a sorted set of session ids. The score of each session id is the time at which the
    /// index entry of the session expires, in milliseconds since the epoch.
    pub(crate) ends: Key,
    /// Key of a hash with the details of the index of one subject. For each session of the subject,
    /// the field named by the session id contains the [`IndexDetails`]. The field `revoked`
    /// contains the position of the last revocation. Positions of sessions and of revocations form
    /// one sequence, so a revocation ended all sessions with a lower position.
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

    /// Returns a pattern for `SCAN` that matches the three Redis keys of the index.
    pub(crate) fn pattern(&self) -> String {
        format!("{}*", self.order.text().trim_end_matches("order"))
    }

    pub(crate) fn all(&self) -> [&[u8]; 3] {
        [&self.order, &self.ends, &self.details].map(Key::as_bytes)
    }
}

/// Derives the name that represents the subject in Redis keys. Someone who can read Redis cannot
/// compute the subject from this name, but can check whether a guessed subject is right.
fn name(subject: &Subject) -> String {
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
        .expect("16 bytes");
    hex::encode(bytes)
}

/// Returns the Redis key of the pointer for the session `id`. The value of a pointer is the Redis
/// key of the plain (unencrypted) record of the session.
pub(crate) fn pointer_key(id: SessionId) -> Key {
    Key::spelled(format_args!("session-id:{id}"))
}

/// The details of a session that the subject index stores. With these details, sessions are listed
/// without reading their records.
#[derive(Serialize, Deserialize)]
pub(crate) struct IndexDetails {
    /// Creation time of the session, in microseconds since the epoch.
    created_at: i64,
    /// End of the absolute lifetime of the session, in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absolute_end: Option<i64>,
    #[serde(flatten)]
    attributes: IndexedAttributes,
    /// Redis key of the record of the session, if the record is plain; `None` for a sealed
    /// (encrypted) record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl IndexDetails {
    pub(crate) fn of(session: &Session, plain: Option<&Key>) -> Self {
        Self {
            created_at: to_micros(session.created_at),
            absolute_end: session.absolute_end.map(to_micros),
            attributes: IndexedAttributes::of(&session.attributes),
            key: plain.map(|key| key.text().to_owned()),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "texts and numbers into a Vec cannot fail"
    )]
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers")
    }

    /// Decodes the details of a session from JSON. Returns `None` if `text` has another format.
    /// Another program may have written such a text.
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

    /// Returns the attributes of the session, including `subject`. The caller passes the subject,
    /// because an index entry does not contain it.
    pub(crate) fn attributes(&self, subject: &Subject) -> SessionAttributes {
        self.attributes.of_subject(subject)
    }

    pub(crate) fn plain_key(&self) -> Option<Key> {
        Key::of_record(self.key.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use tee_session_domain::{BaseUrl, Cookies};

    use super::*;

    /// The expected name of the subject was computed with `hmac` and `hashlib` of Python, not with
    /// this code.
    #[test]
    fn index_keys_of_a_subject_match_the_test_vector_in_the_readme() {
        let keys = IndexKeys::of(&"member-4711".parse().unwrap());
        let all = [keys.order, keys.ends, keys.details];
        let all = all.map(|key| key.text().to_owned());
        assert_eq!(
            all,
            ["order", "ends", "details"]
                .map(|part| format!("subject:{{3dc67af763f1e8180163a3799aa3149c}}:{part}"))
        );
    }

    #[test]
    fn scan_pattern_of_a_subject_index_matches_all_its_redis_keys() {
        let keys = IndexKeys::of(&"member-4711".parse().unwrap());
        let pattern = keys.pattern();
        assert_eq!(pattern, "subject:{3dc67af763f1e8180163a3799aa3149c}:*");
        let prefix = pattern.trim_end_matches('*').as_bytes();
        let all = keys.all();
        assert!(all.iter().all(|key| key.starts_with(prefix)));
        let parts = all.map(|key| key[prefix.len()..].to_vec());
        assert_eq!(
            parts,
            ["order", "ends", "details"].map(|part| part.as_bytes().to_vec())
        );
    }

    #[test]
    fn pointer_key_contains_the_session_id() {
        let id: SessionId = "j_2qi1vxH8YfgWR4eH1LDg".parse().unwrap();
        assert_eq!(pointer_key(id).text(), "session-id:j_2qi1vxH8YfgWR4eH1LDg");
    }

    #[test]
    fn index_details_of_a_session_are_unchanged_after_encoding_and_decoding() {
        let subject: Subject = "member-4711".parse().unwrap();
        let cookies = [("a".to_owned(), "1".to_owned())];
        let created_at = OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(1_234_567);
        let session = Session {
            cookies: Cookies::new(cookies).unwrap(),
            base_url: BaseUrl::new("https://golf.example").unwrap(),
            created_at,
            absolute_end: Some(created_at + time::Duration::DAY),
            attributes: SessionAttributes {
                label: Some("Jörgs Telefon".parse().unwrap()),
                ..SessionAttributes::of_subject(subject.clone())
            },
        };
        let plain = Key::named("x");
        for key in [None, Some(plain)] {
            let text = IndexDetails::of(&session, key.as_ref()).encode();
            let read = IndexDetails::decode(str::from_utf8(&text).unwrap()).unwrap();
            assert_eq!(read.created_at(), Some(session.created_at));
            assert_eq!(read.absolute_end(), session.absolute_end);
            assert_eq!(read.attributes(&subject), session.attributes);
            assert_eq!(read.plain_key(), key);
        }
        assert!(IndexDetails::decode("not JSON").is_none());
    }

    #[test]
    fn key_in_an_index_entry_is_ignored_if_it_is_not_a_session_record_key() {
        let key = |key: &str| {
            let text = format!(r#"{{"created_at": 0, "key": "{key}", "more": 1}}"#);
            IndexDetails::decode(&text).unwrap().plain_key()
        };
        assert_eq!(key("session:x").unwrap().as_bytes(), b"session:x");
        assert_eq!(key("another:x"), None);
        assert_eq!(key(&format!("session:{}", "x".repeat(44))), None);
    }
}
