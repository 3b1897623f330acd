//! Encodes and decodes session records without a Redis, for fuzzers and benchmarks. This module is
//! not a stable API: anything here may change at any time.
#![doc(hidden)]

use tee_session_domain::{Session, SessionToken};

use crate::{
    StorageFormat,
    record::{RecordLocation, plain, sealed::Sealer},
};

/// The Redis key and the codec of the record of one session. Both depend on the storage format and
/// on the token of the session.
pub struct Location(RecordLocation);

impl Location {
    /// Returns the Redis key and the codec for the record of the session that belongs to `token`.
    /// The record has the storage format `format`.
    #[must_use]
    pub fn new(format: StorageFormat, token: &SessionToken) -> Self {
        Self(RecordLocation::new(format, token))
    }

    /// Encodes `session` as a record, in the storage format of this location.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        self.0.encode(session)
    }

    /// Decodes a record that was read from Redis. Returns `None` if `value` is not a valid record.
    #[must_use]
    pub fn decode(&self, value: &[u8]) -> Option<Session> {
        self.0.decode(value.to_vec()).ok()
    }
}

/// Decodes a plain (unencrypted) record. Returns `None` if `value` is not a valid plain record.
#[must_use]
pub fn decode_plain(value: &[u8]) -> Option<Session> {
    plain::decode(value).ok()
}

/// Encodes a session as a plain (unencrypted) record.
#[must_use]
pub fn encode_plain(session: &Session) -> Vec<u8> {
    plain::encode(session)
}

/// Decrypts and decodes a sealed (encrypted) record of the session that belongs to `token`. Returns
/// `None` if `value` is not a valid record of that session.
#[must_use]
pub fn open_sealed(token: &SessionToken, value: &[u8]) -> Option<Session> {
    Sealer::new(token).open(&mut value.to_vec()).ok()
}

/// Encodes and encrypts `session` as a sealed record. The encryption key is derived from `token`.
#[must_use]
pub fn seal(token: &SessionToken, session: &Session) -> Vec<u8> {
    Sealer::new(token).seal(session)
}

/// Encrypts arbitrary bytes as a sealed record of version `version`. The encryption key is derived
/// from `token`.
#[must_use]
pub fn seal_content(token: &SessionToken, version: u8, content: &[u8]) -> Vec<u8> {
    Sealer::new(token).seal_content(version, content.to_vec())
}
