//! The sealed storage format: records are encrypted with an encryption key that is derived from the
//! token.
//!
//! The [`Envelope`] of a record authenticates the session id. Without the token, a record can
//! therefore be neither read nor forged.

use serde::{Deserialize, Serialize};
use tee_session_domain::{
    BaseUrl, ControlCharacter, Cookies, Session, SessionToken, TokenDerivation,
};

use super::{
    attributes::AttributeTexts,
    envelope::{Envelope, VERSION_1},
    key::Key,
    micros::{from_micros, to_micros},
};
use crate::{CorruptRecord, error::CallError};

/// Version of records that an older release would misread if they had version 1: see
/// [`is_misread_by_older_releases`]. All other records have [`VERSION_1`], which every release can
/// read.
const VERSION_2: u8 = 2;

/// HKDF info for the encryption key of a sealed record.
const SEALING_KEY_LABEL: &[u8] = b"record key";

/// Encrypts and decrypts the sealed record of one session.
pub(crate) struct Sealer {
    key: Key,
    envelope: Envelope,
}

/// First part of the plaintext of a sealed (encrypted) record, encoded with postcard. The value `V`
/// of a cookie is a `&str` in version 1, and an `Option<&str>` in version 2.
///
/// If the session has a subject, a label or a cookie with attributes, [`AttributeTexts`] and the
/// result of [`Cookies::details_to_bytes`] follow. Otherwise nothing follows, so older releases can
/// read the record. Any bytes after that are ignored, so a later release may append more data. If
/// an older release changes the record, it drops the data that it does not know.
#[derive(Serialize, Deserialize)]
struct Content<'a, V> {
    created_at_micros: i64,
    absolute_end_micros: Option<i64>,
    base_url: &'a str,
    #[serde(borrow)]
    cookies: Vec<(&'a str, V)>,
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
        let (version, content) = encode(session);
        self.seal_content(version, content)
    }

    pub(crate) fn seal_content(&self, version: u8, content: Vec<u8>) -> Vec<u8> {
        self.envelope.seal(version, content)
    }

    /// Decrypts and decodes a sealed record. The record is decrypted in place: afterwards, `value`
    /// contains the plaintext.
    ///
    /// # Errors
    /// - [`CallError::Newer`] if a newer release wrote the record.
    /// - [`CallError::Corrupt`] if `value` is not a valid record of this session.
    pub(crate) fn open(&self, value: &mut [u8]) -> Result<Session, CallError> {
        let (version, content) = self.envelope.open(value, VERSION_2)?;
        let decoded = match version {
            VERSION_2 => decode(content, |value| value),
            _ => decode(content, Some),
        };
        decoded.map_err(CallError::Corrupt)
    }
}

/// Returns the version and the plaintext of the record of `session`.
fn encode(session: &Session) -> (u8, Vec<u8>) {
    if is_misread_by_older_releases(session) {
        return (VERSION_2, encode_with(session, |value| value));
    }
    (VERSION_1, encode_with(session, Option::unwrap_or_default))
}

/// Returns `true` if an older release, which does not know version 2, would misread a record of
/// version 1 of this session. An older release treats a record as corrupt if a cookie contains TAB
/// or U+0080 to U+009F, and does not know cookies without a value. It drops a subject that is not
/// visible ASCII, so the next update would remove the subject from the record. For a record of
/// version 2, an older release answers with 503 and does not change the record.
fn is_misread_by_older_releases(session: &Session) -> bool {
    // Most cookies are ASCII, and bytes are searched faster than characters.
    let is_control = |text: &str| {
        text.bytes().any(|byte| byte.is_ascii_control())
            || !text.is_ascii() && text.chars().any(char::is_control)
    };
    let mut cookies = session.cookies.iter();
    let subject = session.attributes.subject.as_ref();
    cookies.any(|(name, value)| is_control(name) || value.is_none_or(is_control))
        || subject.is_some_and(|subject| !subject.is_visible_ascii())
}

#[expect(
    clippy::expect_used,
    reason = "strings and numbers into a Vec cannot fail"
)]
fn encode_with<'a, V: Serialize>(
    session: &'a Session,
    value_of: impl Fn(Option<&'a str>) -> V,
) -> Vec<u8> {
    let cookies = session.cookies.iter();
    let content = Content {
        created_at_micros: to_micros(session.created_at),
        absolute_end_micros: session.absolute_end.map(to_micros),
        base_url: session.base_url.as_str(),
        cookies: cookies
            .map(|(name, value)| (name, value_of(value)))
            .collect(),
    };
    let encoded = postcard::to_allocvec(&content).expect("a session can be encoded");
    let attributes = AttributeTexts::of(&session.attributes);
    let details = session.cookies.details_to_bytes();
    if attributes == AttributeTexts::default() && details.is_empty() {
        return encoded;
    }
    let mut encoded = postcard::to_extend(&attributes, encoded).expect("a session can be encoded");
    encoded.extend_from_slice(&details);
    encoded
}

fn decode<'a, V: Deserialize<'a> + Copy>(
    content: &'a [u8],
    value_of: impl Fn(V) -> Option<&'a str>,
) -> Result<Session, CorruptRecord> {
    let no_session = |_| CorruptRecord::NotASession;
    let (content, rest) =
        postcard::take_from_bytes::<Content<'a, V>>(content).map_err(no_session)?;
    let (attributes, rest) = match rest {
        [] => (AttributeTexts::default(), rest),
        rest => postcard::take_from_bytes(rest).map_err(no_session)?,
    };
    let control = |_: ControlCharacter| CorruptRecord::ControlCharacter;
    let cookies = content.cookies.iter();
    let cookies = cookies.map(|&(name, value)| (name, value_of(value)));
    let cookies = Cookies::from_stored(cookies).map_err(control)?;
    Ok(Session {
        // Later releases may append data after the details, which this release ignores.
        cookies: cookies.with_details_from_bytes(rest),
        base_url: BaseUrl::from_stored(content.base_url).map_err(control)?,
        created_at: from_micros(content.created_at_micros)?,
        absolute_end: content.absolute_end_micros.map(from_micros).transpose()?,
        attributes: attributes.parse()?,
    })
}

#[cfg(test)]
mod tests;
