//! Records: what stands in Redis for a session. The seam for storage formats.

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
use crate::{CorruptRecord, error::CallError};

/// What is written to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StorageFormat {
    /// Key and value are derived from the token and encrypted with it: who reads Redis gets
    /// neither a token nor a cookie.
    #[default]
    Sealed,
    /// The key holds the token and the value is readable JSON, as the project's first service
    /// (in Python) writes it, so that both can share one Redis.
    Plain,
}

impl StorageFormat {
    /// The name in settings.
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

/// There is no such storage format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the storage format must be sealed or plain")]
pub struct UnknownStorageFormat;

/// Where a record stands in Redis. Its text is short, and it is made for each call: it lives where it
/// is used, without memory of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(ArrayString<MAX_KEY_LEN>);

/// [`KEY_PREFIX`] and a token of the longer kind; nothing else that has a key needs more.
const MAX_KEY_LEN: usize = KEY_PREFIX.len() + 43;

/// It may hold a token.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// The key whose text is the prefix of all and `name`, which is no longer than a token.
    pub(crate) fn named(name: impl fmt::Display) -> Self {
        Self::spelled(format_args!("{KEY_PREFIX}{name}"))
    }

    fn spelled(text: fmt::Arguments<'_>) -> Self {
        let mut key = ArrayString::new();
        #[expect(clippy::expect_used, reason = "tokens, ids and probes have that place")]
        key.write_fmt(text).expect("a name no longer than a token");
        Self(key)
    }

    /// The key of a record that another key or an entry names.
    pub(crate) fn of_record(text: &str) -> Option<Self> {
        let key = ArrayString::from(text).ok().map(Self);
        key.filter(|_| text.starts_with(KEY_PREFIX))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Where a session stands in one format, and what reads and writes it there.
pub(crate) enum Slot {
    Sealed(sealed::Sealer),
    Plain(Key),
}

impl Slot {
    /// The place of the session that `token` opens.
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

    /// The value that stands for `session`.
    pub(crate) fn encode(&self, session: &Session) -> Vec<u8> {
        match self {
            Self::Sealed(sealer) => sealer.seal(session),
            Self::Plain(_) => plain::encode(session),
        }
    }

    /// The session that `value` stands for, whoever wrote it.
    pub(crate) fn decode(&self, value: Vec<u8>) -> Result<Session, CallError> {
        // It holds cookies, or will.
        let mut value = Zeroizing::new(value);
        match self {
            Self::Sealed(sealer) => sealer.open(&mut value),
            Self::Plain(_) => Ok(plain::decode(&value)?),
        }
    }
}

/// A subject or a label of a record: what a later release may allow is none here.
fn read_leniently<T: FromStr>(text: Option<&str>) -> Result<Option<T>, CorruptRecord> {
    match text {
        Some(text) if text.chars().any(char::is_control) => Err(CorruptRecord::ControlCharacter),
        text => Ok(text.and_then(|text| text.parse().ok())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::hash_map, option, prelude::*};
    use tee_session_domain::{BaseUrl, Cookies};
    use time::{Duration, OffsetDateTime};

    use super::*;

    /// Whatever a client may store.
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
                subject: subject.map(|text| text.parse().unwrap()),
                label: label.map(|text| text.parse().unwrap()),
            },
        )
    }

    fn slots() -> [Slot; 2] {
        let token = SessionToken::generate();
        [StorageFormat::Sealed, StorageFormat::Plain].map(|format| Slot::new(format, &token))
    }

    proptest! {
        #[test]
        fn every_session_survives_every_format_in_order_and_byte_for_byte(session in session()) {
            for slot in slots() {
                let read = slot.decode(slot.encode(&session)).unwrap();
                let pairs = |session: &Session| -> Vec<(String, String)> {
                    let cookies = session.cookies.iter();
                    cookies.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
                };
                prop_assert_eq!(pairs(&read), pairs(&session));
                prop_assert_eq!(read, session.clone());
            }
        }

        #[test]
        fn whatever_stands_there_is_read_without_a_panic(
            value in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            for slot in slots() {
                prop_assert!(slot.decode(value.clone()).is_err());
            }
        }

        #[test]
        fn a_damaged_record_is_read_without_a_panic_and_a_sealed_one_never_opens(
            session in session(),
            position in any::<prop::sample::Index>(),
            byte in 1..=255_u8,
        ) {
            for slot in slots() {
                let mut value = slot.encode(&session);
                let position = position.index(value.len());
                value[position] ^= byte;
                let read = slot.decode(value);
                prop_assert!(read.is_err() || matches!(slot, Slot::Plain(_)));
            }
        }
    }
}
