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

use super::{
    attributes::AttributeTexts,
    cookie_details::SealedDetails,
    key::Key,
    micros::{from_micros, to_micros},
};
use crate::{CorruptRecord, error::CallError};

const MAGIC: [u8; 2] = *b"TS";

/// Version of most sealed (encrypted) records. Every release can read them.
const VERSION_1: u8 = 1;

/// Version of the records that a release without version 2 would misread: see
/// [`is_misread_by_older_releases`].
const VERSION_2: u8 = 2;

/// Number of versions above [`VERSION_2`] that are treated as written by a newer release. A record
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

/// First part of the plaintext of a sealed (encrypted) record, encoded with postcard. The value `V`
/// of a cookie is a `&str` in version 1, and an `Option<&str>` in version 2.
///
/// If the session has a subject or a label, [`AttributeTexts`] follows. If the session has neither,
/// nothing follows, so older releases can read the record. If a cookie has attributes,
/// [`SealedDetails`] follows after [`AttributeTexts`]. Any bytes after that are ignored, so a later
/// release may append more data. An older release drops the data that it does not know when it
/// changes the record.
#[derive(Serialize, Deserialize)]
struct Content<'a, V> {
    created_at_micros: i64,
    absolute_end_micros: Option<i64>,
    base_url: &'a str,
    #[serde(borrow)]
    cookies: Vec<(&'a str, V)>,
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
        let (version, content) = encode(session);
        self.seal_content(version, content)
    }

    #[expect(
        clippy::expect_used,
        reason = "a record is far below the maximum length for one nonce"
    )]
    pub(crate) fn seal_content(&self, version: u8, mut sealed: Vec<u8>) -> Vec<u8> {
        let nonce = self
            .sealing_key
            .seal_in_place_append_tag(Aad::from(self.associated_data(version)), &mut sealed)
            .expect("a session can be sealed");
        let mut value = Vec::with_capacity(HEADER_LEN + NONCE_LEN + sealed.len());
        value.extend_from_slice(&MAGIC);
        value.push(version);
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
        let version = match header.strip_prefix(&MAGIC) {
            Some(&[version @ (VERSION_1 | VERSION_2)]) => version,
            Some(&[version]) if (VERSION_2 + 1..=VERSION_2 + NEWER_VERSIONS).contains(&version) => {
                return Err(CallError::Newer { version });
            }
            _ => return Err(corrupt(NotSealed)),
        };
        let Some((nonce, sealed)) = rest.split_first_chunk_mut::<NONCE_LEN>() else {
            return Err(corrupt(NotSealed));
        };
        let content = self
            .sealing_key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.associated_data(version)),
                sealed,
            )
            .map_err(|_| corrupt(CorruptRecord::DoesNotOpen))?;
        let decoded = match version {
            VERSION_2 => decode(content, |value| value),
            _ => decode(content, Some),
        };
        decoded.map_err(corrupt)
    }

    fn associated_data(&self, version: u8) -> [u8; HEADER_LEN + 16] {
        let mut data = [0; HEADER_LEN + 16];
        data[..MAGIC.len()].copy_from_slice(&MAGIC);
        data[MAGIC.len()] = version;
        data[HEADER_LEN..].copy_from_slice(self.id.as_bytes());
        data
    }
}

/// Returns the version and the plaintext of the record of `session`.
fn encode(session: &Session) -> (u8, Vec<u8>) {
    if is_misread_by_older_releases(session) {
        return (VERSION_2, encode_with(session, |value| value));
    }
    (VERSION_1, encode_with(session, Option::unwrap_or_default))
}

/// Returns `true` if a release without version 2 would misread a record of version 1 of this
/// session. Such a release treats TAB and U+0080 to U+009F in cookies as corrupt, which would log
/// the user out, and knows no cookie without a value. It would drop a subject that is not visible
/// ASCII, and remove it from the record with the next update. For a record of version 2, it answers
/// with 503 instead, and does not change the record.
fn is_misread_by_older_releases(session: &Session) -> bool {
    let is_control = |text: &str| text.chars().any(char::is_control);
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
    let has_details = session.cookies.has_details();
    if attributes == AttributeTexts::default() && !has_details {
        return encoded;
    }
    let encoded = postcard::to_extend(&attributes, encoded).expect("a session can be encoded");
    if !has_details {
        return encoded;
    }
    let details = SealedDetails::of(&session.cookies);
    postcard::to_extend(&details, encoded).expect("a session can be encoded")
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
    // Later releases may have appended data of another kind, which this release ignores.
    let details = postcard::take_from_bytes::<SealedDetails<'_>>(rest).ok();
    let control = |_: ControlCharacter| CorruptRecord::ControlCharacter;
    let cookies = content.cookies.iter();
    let cookies = cookies.map(|&(name, value)| (name, value_of(value)));
    let cookies = Cookies::from_stored(cookies).map_err(control)?;
    Ok(Session {
        cookies: match details {
            Some((details, _)) => details.add_to(cookies),
            None => cookies,
        },
        base_url: BaseUrl::from_stored(content.base_url).map_err(control)?,
        created_at: from_micros(content.created_at_micros)?,
        absolute_end: content.absolute_end_micros.map(from_micros).transpose()?,
        attributes: attributes.parse()?,
    })
}

#[cfg(test)]
mod tests;
