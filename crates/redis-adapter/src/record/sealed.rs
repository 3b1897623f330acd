//! The sealed format: encrypted with a key that only the token gives.
//!
//! A value is two magic bytes, a version byte, a random nonce of 12 bytes, the ciphertext, and
//! a tag of 16 bytes (AES-256-GCM). Magic, version and record id are authenticated with it, so
//! that a record can be neither read, nor forged, nor moved to another key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use tee_session_domain::{
    BaseUrl, ControlCharacter, Cookies, Label, Session, SessionId, SessionToken, Subject,
    TokenDerivation,
};
use time::OffsetDateTime;

use super::{Key, read_leniently};
use crate::{CorruptRecord, error::CallError};

const MAGIC: [u8; 2] = *b"TS";

/// The version that is written.
const VERSION: u8 = 1;

/// Versions up to so many above ours were written by a newer release; others never were.
const NEWER_VERSIONS: u8 = 15;

/// HKDF info of the key that seals.
const SEALING_KEY_LABEL: &[u8] = b"record key";

const HEADER_LEN: usize = MAGIC.len() + 1;

/// Longer values are not opened. A session that we wrote stays below a tenth of it.
const MAX_RECORD_LEN: usize = 1024 * 1024;

/// What reads and writes one session's record.
pub(crate) struct Sealer {
    id: SessionId,
    key: Key,
    sealing_key: RandomizedNonceKey,
}

/// The plaintext of version 1, in postcard's encoding. [`Appended`] may follow it, and what follows
/// that is ignored: a later release may append what may be lost when an older one changes the record.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    created_at_micros: i64,
    absolute_end_micros: Option<i64>,
    base_url: &'a str,
    #[serde(borrow)]
    cookies: Vec<(&'a str, &'a str)>,
}

/// What stands behind [`Content`] for a session that has a subject or a label, and for no other, as
/// in records from before there were any.
#[derive(Default, Serialize, Deserialize)]
struct Appended<'a> {
    #[serde(borrow)]
    subject: Option<&'a str>,
    #[serde(borrow)]
    label: Option<&'a str>,
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

    /// A new sealed record, under a nonce of its own.
    pub(crate) fn seal(&self, session: &Session) -> Vec<u8> {
        self.seal_content(encode(session))
    }

    #[expect(
        clippy::expect_used,
        reason = "a record is far below what one nonce may seal"
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

    /// Opens a sealed record where it stands, which leaves the content there.
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
    let appended = Appended {
        subject: session.subject.as_ref().map(Subject::as_str),
        label: session.label.as_ref().map(Label::as_str),
    };
    if appended.subject.is_none() && appended.label.is_none() {
        return encoded;
    }
    postcard::to_extend(&appended, encoded).expect("a session can be encoded")
}

fn decode(content: &[u8]) -> Result<Session, CorruptRecord> {
    let no_session = |_| CorruptRecord::NotASession;
    let (content, rest) = postcard::take_from_bytes::<Content<'_>>(content).map_err(no_session)?;
    let appended = match rest {
        [] => Appended::default(),
        rest => postcard::take_from_bytes(rest).map_err(no_session)?.0,
    };
    let control = |_: ControlCharacter| CorruptRecord::ControlCharacter;
    Ok(Session {
        cookies: Cookies::from_stored(&content.cookies).map_err(control)?,
        base_url: BaseUrl::from_stored(content.base_url).map_err(control)?,
        created_at: from_micros(content.created_at_micros)?,
        absolute_end: content.absolute_end_micros.map(from_micros).transpose()?,
        subject: read_leniently(appended.subject)?,
        label: read_leniently(appended.label)?,
    })
}

/// Microseconds since the Unix epoch.
pub(super) fn to_micros(time: OffsetDateTime) -> i64 {
    i64::try_from((time - OffsetDateTime::UNIX_EPOCH).whole_microseconds()).unwrap_or(i64::MAX)
}

/// A time that RFC 3339 can write: of the years 0 to 9999.
pub(super) fn from_micros(micros: i64) -> Result<OffsetDateTime, CorruptRecord> {
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::microseconds(micros));
    time.filter(|time| time.year() >= 0)
        .ok_or(CorruptRecord::CreatedAt)
}

#[cfg(test)]
mod tests;
