//! The record codecs without Redis: for fuzzers and benchmarks. Not for
//! use: anything here may change at any time.
#![doc(hidden)]

use tee_session_domain::{Session, SessionToken};

use crate::{
    StorageFormat,
    record::{Slot, plain, sealed::Sealer},
};

/// Where a session stands in Redis, with the keys that are derived for that.
pub struct Place(Slot);

impl Place {
    /// The place of the session that `token` opens.
    #[must_use]
    pub fn new(format: StorageFormat, token: &SessionToken) -> Self {
        Self(Slot::new(format, token))
    }

    /// The value that stands for `session` there.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        self.0.encode(session)
    }

    /// The session that `value` stands for there.
    #[must_use]
    pub fn decode(&self, value: &[u8]) -> Option<Session> {
        self.0.decode(value.to_vec()).ok()
    }
}

/// The session that a plain record stands for.
#[must_use]
pub fn decode_plain(value: &[u8]) -> Option<Session> {
    plain::decode(value).ok()
}

/// The plain record of a session.
#[must_use]
pub fn encode_plain(session: &Session) -> Vec<u8> {
    plain::encode(session)
}

/// The session that a sealed record stands for.
#[must_use]
pub fn open_sealed(token: &SessionToken, value: &[u8]) -> Option<Session> {
    Sealer::new(token).open(&mut value.to_vec()).ok()
}

/// A sealed record of a session.
#[must_use]
pub fn seal(token: &SessionToken, session: &Session) -> Vec<u8> {
    Sealer::new(token).seal(session)
}

/// A sealed record of whatever content.
#[must_use]
pub fn seal_content(token: &SessionToken, content: &[u8]) -> Vec<u8> {
    Sealer::new(token).seal_content(content.to_vec())
}
