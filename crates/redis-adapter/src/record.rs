//! Session records in Redis: their Redis keys and their two storage formats, sealed (encrypted) and
//! plain.

mod attributes;
mod index_entry;
pub(crate) mod plain;
pub(crate) mod sealed;

use std::{
    fmt::{self, Write},
    str::FromStr,
};

use arrayvec::ArrayString;
use tee_session_domain::{Session, SessionToken};
use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use self::{
    index_entry::{IndexDetails, IndexKeys, pointer_key},
    plain::KEY_PREFIX,
};
use crate::error::CallError;

/// Storage format in which session records are written to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StorageFormat {
    /// Encrypted records. The Redis key is derived from the token. The value is encrypted with an
    /// encryption key that is also derived from the token. Someone who can read Redis gets neither
    /// a token nor a cookie.
    #[default]
    Sealed,
    /// Readable records. The Redis key contains the token, and the value is JSON. The project's
    /// first service (in Python) writes the same format, so both services can share one Redis.
    Plain,
}

impl StorageFormat {
    /// Returns the name of the storage format in settings: `sealed` or `plain`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Plain => "plain",
        }
    }
}

impl FromStr for StorageFormat {
    type Err = UnknownStorageFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Self::Sealed, Self::Plain];
        all.into_iter()
            .find(|format| format.as_str() == name)
            .ok_or(UnknownStorageFormat)
    }
}

/// Parse error: the text is not the name of a storage format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the storage format must be sealed or plain")]
pub struct UnknownStorageFormat;

/// A Redis key. The text of a key is short and is created for each call, so it is stored inline,
/// without heap allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(ArrayString<MAX_KEY_LEN>);

/// Maximum length of a Redis key of this crate, in bytes: [`KEY_PREFIX`] and a token of 43
/// characters, which is the longest kind of token. All other keys are shorter.
const MAX_KEY_LEN: usize = KEY_PREFIX.len() + 43;

/// Shows no text of the key, because the text may contain a token.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Returns the key that consists of [`KEY_PREFIX`] and `name`.
    ///
    /// # Panics
    /// Panics if `name` is longer than 43 characters, the length of the longest kind of token.
    pub(crate) fn named(name: impl fmt::Display) -> Self {
        Self::spelled(format_args!("{KEY_PREFIX}{name}"))
    }

    fn spelled(text: fmt::Arguments<'_>) -> Self {
        let mut key = ArrayString::new();
        #[expect(clippy::expect_used, reason = "tokens, ids and probe names fit")]
        key.write_fmt(text)
            .expect("the name is no longer than a token");
        Self(key)
    }

    /// Parses the Redis key of a session record, as stored in a pointer or in an index entry.
    /// Returns `None` if `text` does not begin with [`KEY_PREFIX`] or is too long.
    pub(crate) fn of_record(text: &str) -> Option<Self> {
        let key = ArrayString::from(text).ok().map(Self);
        key.filter(|_| text.starts_with(KEY_PREFIX))
    }

    /// Returns the key as text. The key of a plain record contains a token, so the text of a
    /// record's key must not be logged.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The Redis key under which the record of a session is stored in one storage format, and the codec
/// for that record.
pub(crate) enum RecordLocation {
    Sealed(sealed::Sealer),
    Plain(Key),
}

impl RecordLocation {
    /// Returns the location where the record of the session that belongs to `token` is stored in
    /// the storage format `format`.
    pub(crate) fn new(format: StorageFormat, token: &SessionToken) -> Self {
        match format {
            StorageFormat::Sealed => Self::Sealed(sealed::Sealer::new(token)),
            StorageFormat::Plain => Self::Plain(plain::key(token)),
        }
    }

    pub(crate) fn format(&self) -> StorageFormat {
        match self {
            Self::Sealed(_) => StorageFormat::Sealed,
            Self::Plain(_) => StorageFormat::Plain,
        }
    }

    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Sealed(sealer) => sealer.key(),
            Self::Plain(key) => key,
        }
    }

    /// Encodes `session` as the value to store under this Redis key. In the sealed format, the
    /// value is encrypted.
    pub(crate) fn encode(&self, session: &Session) -> Vec<u8> {
        match self {
            Self::Sealed(sealer) => sealer.seal(session),
            Self::Plain(_) => plain::encode(session),
        }
    }

    /// Decodes a value that was read from this Redis key. The value may be invalid, because another
    /// release or another program may have written it.
    pub(crate) fn decode(&self, value: Vec<u8>) -> Result<Session, CallError> {
        // The buffer is wiped on drop, because it contains cookies: a sealed value is decrypted in
        // this buffer.
        let mut value = Zeroizing::new(value);
        match self {
            Self::Sealed(sealer) => sealer.open(&mut value),
            Self::Plain(_) => Ok(plain::decode(&value)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::hash_map, option, prelude::*};
    use tee_session_domain::{BaseUrl, Cookies, SessionAttributes};
    use time::{Duration, OffsetDateTime};

    use super::*;

    /// Generates arbitrary sessions that a client may store.
    fn session() -> impl Strategy<Value = Session> {
        let cookies = hash_map("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}", "\\PC{0,60}", 1..12);
        let path = "(/[a-z0-9;,=äöü日本%-]{0,10}){0,4}";
        let names = (option::of("[!-~]{1,40}"), option::of("\\PC{1,40}"));
        (cookies, path, 0..4_102_444_800_000_000_i64, names).prop_map(
            |(cookies, path, micros, (subject, label))| Session {
                cookies: Cookies::new(cookies).unwrap(),
                base_url: BaseUrl::new(format!("https://golf.example{path}")).unwrap(),
                created_at: OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros),
                absolute_end: None,
                attributes: SessionAttributes {
                    subject: subject.map(|text| text.parse().unwrap()),
                    label: label.map(|text| text.parse().unwrap()),
                },
            },
        )
    }

    fn locations() -> [RecordLocation; 2] {
        let token = SessionToken::generate();
        [StorageFormat::Sealed, StorageFormat::Plain]
            .map(|format| RecordLocation::new(format, &token))
    }

    proptest! {
        #[test]
        fn session_is_unchanged_after_encoding_and_decoding_in_both_formats(session in session()) {
            for location in locations() {
                let read = location.decode(location.encode(&session)).unwrap();
                let pairs = |session: &Session| -> Vec<(String, String)> {
                    let cookies = session.cookies.iter();
                    cookies.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
                };
                prop_assert_eq!(pairs(&read), pairs(&session));
                prop_assert_eq!(read, session.clone());
            }
        }

        #[test]
        fn decoding_arbitrary_bytes_returns_an_error_without_a_panic(
            value in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            for location in locations() {
                prop_assert!(location.decode(value.clone()).is_err());
            }
        }

        #[test]
        fn decoding_a_record_with_a_changed_byte_never_panics_and_fails_if_sealed(
            session in session(),
            position in any::<prop::sample::Index>(),
            byte in 1..=255_u8,
        ) {
            for location in locations() {
                let mut value = location.encode(&session);
                let position = position.index(value.len());
                value[position] ^= byte;
                let read = location.decode(value);
                prop_assert!(read.is_err() || matches!(location, RecordLocation::Plain(_)));
            }
        }
    }
}
