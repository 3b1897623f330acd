//! The sealed storage format: records are encrypted with an encryption key that is derived from the
//! token.
//!
//! The [`Envelope`] of a record authenticates the session id. Without the token, a record can
//! therefore be neither read nor forged.

use serde::{Deserialize, Serialize};
use tee_session_domain::{
    BaseUrl, ControlCharacter, Cookies, Session, SessionToken, TokenDerivation,
};
use time::OffsetDateTime;

use super::{attributes::AttributeTexts, envelope::Envelope, key::Key};
use crate::{CorruptRecord, error::CallError};

/// HKDF info for the encryption key.
const SEALING_KEY_LABEL: &[u8] = b"record key";

/// Encrypts and decrypts the sealed record of one session.
pub(crate) struct Sealer {
    key: Key,
    envelope: Envelope,
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
    pub(crate) fn new(token: &SessionToken) -> Self {
        let derivation = TokenDerivation::of(token);
        let id = derivation.session_id();
        Self {
            key: Key::named(id),
            envelope: Envelope::new(*id.as_bytes(), &derivation.key(SEALING_KEY_LABEL)),
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

    pub(crate) fn seal_content(&self, content: Vec<u8>) -> Vec<u8> {
        self.envelope.seal(content)
    }

    /// Decrypts and decodes a sealed record. The record is decrypted in place: afterwards, `value`
    /// contains the plaintext.
    ///
    /// # Errors
    /// - [`CallError::Newer`] if a newer release wrote the record.
    /// - [`CallError::Corrupt`] if `value` is not a valid record of this session.
    pub(crate) fn open(&self, value: &mut [u8]) -> Result<Session, CallError> {
        let content = self.envelope.open(value)?;
        decode(content).map_err(CallError::Corrupt)
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
pub(crate) fn to_micros(time: OffsetDateTime) -> i64 {
    i64::try_from((time - OffsetDateTime::UNIX_EPOCH).whole_microseconds()).unwrap_or(i64::MAX)
}

/// Converts microseconds since the Unix epoch to a time. Returns an error if the year is not
/// between 0 and 9999, because RFC 3339 cannot express such a time.
pub(crate) fn from_micros(micros: i64) -> Result<OffsetDateTime, CorruptRecord> {
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::microseconds(micros));
    time.filter(|time| time.year() >= 0)
        .ok_or(CorruptRecord::CreatedAt)
}

#[cfg(test)]
mod tests;
