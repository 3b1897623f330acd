//! The sealed storage format: records are encrypted with an encryption key that is derived from the
//! token.
//!
//! A value consists of two magic bytes, a version byte, a random 12-byte nonce, the ciphertext, and
//! a 16-byte authentication tag (AES-256-GCM). The tag also authenticates the magic bytes, the
//! version and the session id. Without the token, a record can therefore be neither read nor
//! forged. A record that is copied to the Redis key of another session cannot be decrypted.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use tee_session_domain::{
    BaseUrl, ControlCharacter, Cookies, Session, SessionId, SessionToken, TokenDerivation,
};
use time::OffsetDateTime;

use super::{attributes::AttributeTexts, key::Key};
use crate::{CorruptRecord, error::CallError};

const MAGIC: [u8; 2] = *b"TS";

/// Version of the sealed (encrypted) records that this release writes.
const VERSION: u8 = 1;

/// Number of versions above [`VERSION`] that are treated as written by a newer release. A record
/// with a still higher version is treated as corrupt.
const NEWER_VERSIONS: u8 = 15;

/// HKDF info for the encryption key.
const SEALING_KEY_LABEL: &[u8] = b"record key";

const HEADER_LEN: usize = MAGIC.len() + 1;

/// Maximum length of a value that is decrypted, in bytes. Records that this service writes are
/// shorter than a tenth of the maximum.
const MAX_RECORD_LEN: usize = 1024 * 1024;

/// Encrypts and decrypts the sealed record of one session.
pub(crate) struct Sealer {
    id: SessionId,
    key: Key,
    sealing_key: RandomizedNonceKey,
}

/// First part of the plaintext of a sealed (encrypted) record of version 1, encoded with postcard.
///
/// If the session has a subject or a label, [`AttributeTexts`] follows. If the session has neither,
/// nothing follows, so older releases can read the record. Any bytes after [`AttributeTexts`] are
/// ignored, so a later release may append more data. That data is dropped when an older release
/// changes the record.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    created_at_micros: i64,
    absolute_end_micros: Option<i64>,
    base_url: &'a str,
    #[serde(borrow)]
    cookies: Vec<(&'a str, &'a str)>,
}

impl Sealer {
    #[expect(
        clippy::expect_used,
        reason = "the key has the length that the algorithm takes"
    )]
    pub(crate) fn new(token: &SessionToken) -> Self {
        let derivation = TokenDerivation::of(token);
        let id = derivation.session_id();
        let sealing_key = derivation.key(SEALING_KEY_LABEL);
        Self {
            id,
            key: Key::named(id),
            sealing_key: RandomizedNonceKey::new(&AES_256_GCM, sealing_key.expose_secret())
                .expect("32 bytes are a key of AES-256"),
        }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Encodes and encrypts a session with a new random nonce. Returns the complete value of the
    /// record.
    pub(crate) fn seal(&self, session: &Session) -> Vec<u8> {
        self.seal_content(encode(session))
    }

    #[expect(
        clippy::expect_used,
        reason = "a record is far below the maximum length for one nonce"
    )]
    pub(crate) fn seal_content(&self, mut sealed: Vec<u8>) -> Vec<u8> {
        let nonce = self
            .sealing_key
            .seal_in_place_append_tag(Aad::from(self.associated_data()), &mut sealed)
            .expect("a session can be sealed");
        let mut value = Vec::with_capacity(HEADER_LEN + NONCE_LEN + sealed.len());
        value.extend_from_slice(&MAGIC);
        value.push(VERSION);
        value.extend_from_slice(nonce.as_ref());
        value.extend_from_slice(&sealed);
        value
    }

    /// Decrypts and decodes a sealed record. The record is decrypted in place: afterwards, `value`
    /// contains the plaintext.
    ///
    /// # Errors
    /// - [`CallError::Newer`] if a newer release wrote the record.
    /// - [`CallError::Corrupt`] if `value` is not a valid record of this session.
    pub(crate) fn open(&self, value: &mut [u8]) -> Result<Session, CallError> {
        use CorruptRecord::{NotSealed, TooLong};
        let corrupt = CallError::Corrupt;

        if value.len() > MAX_RECORD_LEN {
            return Err(corrupt(TooLong {
                limit: MAX_RECORD_LEN,
            }));
        }
        let Some((header, rest)) = value.split_at_mut_checked(HEADER_LEN) else {
            return Err(corrupt(NotSealed));
        };
        match header.strip_prefix(&MAGIC) {
            Some([VERSION]) => {}
            Some(&[version]) if (VERSION + 1..=VERSION + NEWER_VERSIONS).contains(&version) => {
                return Err(CallError::Newer { version });
            }
            _ => return Err(corrupt(NotSealed)),
        }
        let Some((nonce, sealed)) = rest.split_first_chunk_mut::<NONCE_LEN>() else {
            return Err(corrupt(NotSealed));
        };
        let content = self
            .sealing_key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.associated_data()),
                sealed,
            )
            .map_err(|_| corrupt(CorruptRecord::DoesNotOpen))?;
        decode(content).map_err(corrupt)
    }

    fn associated_data(&self) -> [u8; HEADER_LEN + 16] {
        let mut data = [0; HEADER_LEN + 16];
        data[..MAGIC.len()].copy_from_slice(&MAGIC);
        data[MAGIC.len()] = VERSION;
        data[HEADER_LEN..].copy_from_slice(self.id.as_bytes());
        data
    }
}

#[expect(
    clippy::expect_used,
    reason = "strings and numbers into a Vec cannot fail"
)]
fn encode(session: &Session) -> Vec<u8> {
    let content = Content {
        created_at_micros: to_micros(session.created_at),
        absolute_end_micros: session.absolute_end.map(to_micros),
        base_url: session.base_url.as_str(),
        cookies: session.cookies.iter().collect(),
    };
    let encoded = postcard::to_allocvec(&content).expect("a session can be encoded");
    let attributes = AttributeTexts::of(&session.attributes);
    if attributes == AttributeTexts::default() {
        return encoded;
    }
    postcard::to_extend(&attributes, encoded).expect("a session can be encoded")
}

fn decode(content: &[u8]) -> Result<Session, CorruptRecord> {
    let no_session = |_| CorruptRecord::NotASession;
    let (content, rest) = postcard::take_from_bytes::<Content<'_>>(content).map_err(no_session)?;
    let attributes = match rest {
        [] => AttributeTexts::default(),
        rest => postcard::take_from_bytes(rest).map_err(no_session)?.0,
    };
    let control = |_: ControlCharacter| CorruptRecord::ControlCharacter;
    Ok(Session {
        cookies: Cookies::from_stored(&content.cookies).map_err(control)?,
        base_url: BaseUrl::from_stored(content.base_url).map_err(control)?,
        created_at: from_micros(content.created_at_micros)?,
        absolute_end: content.absolute_end_micros.map(from_micros).transpose()?,
        attributes: attributes.parse()?,
    })
}

/// Converts a time to microseconds since the Unix epoch.
pub(super) fn to_micros(time: OffsetDateTime) -> i64 {
    i64::try_from((time - OffsetDateTime::UNIX_EPOCH).whole_microseconds()).unwrap_or(i64::MAX)
}

/// Converts microseconds since the Unix epoch to a time. Returns an error if the year is not
/// between 0 and 9999, because RFC 3339 cannot express such a time.
pub(super) fn from_micros(micros: i64) -> Result<OffsetDateTime, CorruptRecord> {
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::microseconds(micros));
    time.filter(|time| time.year() >= 0)
        .ok_or(CorruptRecord::CreatedAt)
}

#[cfg(test)]
mod tests;
