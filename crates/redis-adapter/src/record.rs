//! Session records in Redis: their Redis keys and their two storage formats, sealed (encrypted) and
//! plain.

mod attributes;
mod envelope;
mod index_entry;
mod key;
mod micros;
pub(crate) mod plain;
pub(crate) mod sealed;

use std::str::FromStr;

use tee_session_domain::{Session, SessionToken};
use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use self::{
    envelope::{Envelope, VERSION_1},
    index_entry::{IndexDetails, IndexKeys, pointer_key},
    key::{KEY_PREFIX, Key, MAX_KEY_LEN},
    micros::{from_micros, to_micros},
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
    /// Unencrypted records. The Redis key contains the token, and the value is JSON. The project's
    /// first service (in Python) writes the same format, so both services can share one Redis.
    Plain,
}

impl StorageFormat {
    /// Returns the name of this storage format in the settings: `sealed` or `plain`.
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

/// The Redis key and the codec of the record of one session. Both depend on the storage format and
/// on the token of the session.
pub(crate) enum RecordLocation {
    Sealed(sealed::Sealer),
    Plain(Key),
}

impl RecordLocation {
    /// Returns the Redis key and the codec for the record of the session that belongs to `token`.
    /// The record has the storage format `format`.
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

    /// Encodes `session` as the value of the record. In the sealed format, the value is encrypted.
    pub(crate) fn encode(&self, session: &Session) -> Vec<u8> {
        match self {
            Self::Sealed(sealer) => sealer.seal(session),
            Self::Plain(_) => plain::encode(session),
        }
    }

    /// Decodes the value of a record that was read from Redis. The value may be invalid, because
    /// another release or another program may have written it.
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
    use rstest::rstest;
    use tee_session_domain::{BaseUrl, Cookies, SessionAttributes};
    use time::{Duration, OffsetDateTime};

    use super::*;

    /// Generates arbitrary sessions that a client may store.
    fn session() -> impl Strategy<Value = Session> {
        let value = option::of("(\\PC|[\t\u{80}-\u{9f}]){0,60}");
        let cookies = hash_map("[!-:<>-~äöü日本\u{85}]( ?[!-:<>-~]){0,30}", value, 0..12);
        let path = "(/[a-z0-9;,=äöü日本%-]{0,10}){0,4}";
        let names = (
            option::of("[ -~äöü日本]{1,40}"),
            option::of("[ -~äöü日本]{1,40}"),
        );
        (cookies, path, 0..4_102_444_800_000_000_i64, names).prop_map(
            |(cookies, path, micros, (subject, label))| Session {
                cookies: Cookies::new(cookies).unwrap(),
                base_url: BaseUrl::new(format!("https://golf.example{path}")).unwrap(),
                created_at: OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros),
                absolute_end: None,
                attributes: SessionAttributes {
                    label: label.map(|text| text.parse().unwrap()),
                    ..subject
                        .map(|text| SessionAttributes::of_subject(text.parse().unwrap()))
                        .unwrap_or_default()
                },
            },
        )
    }

    #[rstest]
    #[case::sealed("sealed", Ok(StorageFormat::Sealed))]
    #[case::plain("plain", Ok(StorageFormat::Plain))]
    #[case::upper_case("Sealed", Err(UnknownStorageFormat))]
    #[case::empty("", Err(UnknownStorageFormat))]
    fn storage_format_is_parsed_from_its_name(
        #[case] name: &str,
        #[case] expected: Result<StorageFormat, UnknownStorageFormat>,
    ) {
        let format = name.parse::<StorageFormat>();
        assert_eq!(format, expected);
        assert_eq!(
            format.map_or("", StorageFormat::as_str),
            expected.map_or("", |_| name)
        );
    }

    #[test]
    fn record_key_contains_the_session_id_if_encrypted_and_the_token_if_unencrypted() {
        let token = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse().unwrap();
        for (format, key) in [
            (StorageFormat::Sealed, "session:j_2qi1vxH8YfgWR4eH1LDg"),
            (
                StorageFormat::Plain,
                "session:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
            ),
        ] {
            let location = RecordLocation::new(format, &token);
            assert_eq!(location.format(), format);
            assert_eq!(location.key().text(), key);
            assert_eq!(format!("{:?}", location.key()), "Key");
        }
    }

    fn locations() -> [RecordLocation; 2] {
        let token = SessionToken::generate();
        [StorageFormat::Sealed, StorageFormat::Plain]
            .map(|format| RecordLocation::new(format, &token))
    }

    proptest! {
        #[test]
        fn session_is_unchanged_after_encoding_and_decoding_in_both_storage_formats(
            session in session(),
        ) {
            for location in locations() {
                let read = location.decode(location.encode(&session)).unwrap();
                let pairs = |session: &Session| -> Vec<(String, Option<String>)> {
                    let cookies = session.cookies.iter();
                    let owned = |(name, value): (&str, Option<&str>)| {
                        (name.to_owned(), value.map(str::to_owned))
                    };
                    cookies.map(owned).collect()
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
        fn decoding_a_record_with_a_changed_byte_never_panics_and_fails_if_it_is_encrypted(
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
