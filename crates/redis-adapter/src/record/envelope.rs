//! Encryption of the values that this crate stores in Redis.
//!
//! A value consists of two magic bytes, a version byte, a random 12-byte nonce, the ciphertext, and
//! a 16-byte authentication tag (AES-256-GCM). The tag also authenticates the magic bytes, the
//! version and the id of the value. A value that is copied to the Redis key of another id cannot be
//! decrypted.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use tee_session_domain::DerivedKey;

use crate::{CorruptRecord, error::CallError};

const MAGIC: [u8; 2] = *b"TS";

/// First version of the content of encrypted session records, and of idempotency records.
pub(crate) const VERSION_1: u8 = 1;

/// Number of versions above the newest known version that count as versions of a newer release. A
/// value with a still higher version counts as corrupt.
const NEWER_VERSIONS: u8 = 15;

pub(super) const HEADER_LEN: usize = MAGIC.len() + 1;

/// Maximum length of a value that is decrypted, in bytes. The longest record that this service
/// writes takes less than a tenth of this maximum.
pub(super) const MAX_RECORD_LEN: usize = 1024 * 1024;

/// Encrypts and decrypts the values that belong to one id, such as the record of a session id.
pub(crate) struct Envelope {
    id: [u8; 16],
    sealing_key: RandomizedNonceKey,
}

impl Envelope {
    #[expect(
        clippy::expect_used,
        reason = "the key has the length that the algorithm takes"
    )]
    pub(crate) fn new(id: [u8; 16], sealing_key: &DerivedKey) -> Self {
        Self {
            id,
            sealing_key: RandomizedNonceKey::new(&AES_256_GCM, sealing_key.expose_secret())
                .expect("32 bytes are a key of AES-256"),
        }
    }

    /// Encrypts `content` with a new random nonce. Returns the complete value. It contains
    /// `version`, the version of the content.
    #[expect(
        clippy::expect_used,
        reason = "a value is far below the maximum length for one nonce"
    )]
    pub(crate) fn seal(&self, version: u8, mut content: Vec<u8>) -> Vec<u8> {
        let nonce = self
            .sealing_key
            .seal_in_place_append_tag(Aad::from(self.associated_data(version)), &mut content)
            .expect("a value can be sealed");
        let mut value = Vec::with_capacity(HEADER_LEN + NONCE_LEN + content.len());
        value.extend_from_slice(&MAGIC);
        value.push(version);
        value.extend_from_slice(nonce.as_ref());
        value.extend_from_slice(&content);
        value
    }

    /// Decrypts a value in place, and returns its version and content. `newest` is the newest
    /// version that the caller can read.
    ///
    /// # Errors
    /// - [`CallError::Newer`] if a newer release wrote the value.
    /// - [`CallError::Corrupt`] if `value` is not a valid value with this id.
    pub(crate) fn open<'a>(
        &self,
        value: &'a mut [u8],
        newest: u8,
    ) -> Result<(u8, &'a mut [u8]), CallError> {
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
            Some(&[version]) if (VERSION_1..=newest).contains(&version) => version,
            Some(&[version]) if (newest + 1..=newest + NEWER_VERSIONS).contains(&version) => {
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
        Ok((version, content))
    }

    fn associated_data(&self, version: u8) -> [u8; HEADER_LEN + 16] {
        let mut data = [0; HEADER_LEN + 16];
        data[..MAGIC.len()].copy_from_slice(&MAGIC);
        data[MAGIC.len()] = version;
        data[HEADER_LEN..].copy_from_slice(&self.id);
        data
    }
}
