//! Records: what stands in Redis for a session. The seam for storage formats.

mod plain;
mod sealed;

use std::str::FromStr;

use bytes::Bytes;
use fred::types::Key;
use tee_session_domain::{RepositoryError, Session, SessionToken};
use thiserror::Error;

use crate::CorruptRecord;

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

    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Sealed(sealer) => sealer.key(),
            Self::Plain(key) => key,
        }
    }

    /// The value that stands for `session`.
    pub(crate) fn encode(&self, session: &Session) -> Bytes {
        match self {
            Self::Sealed(sealer) => sealer.seal(session),
            Self::Plain(_) => plain::encode(session),
        }
    }

    /// The session that `value` stands for, whoever wrote it.
    pub(crate) fn decode(&self, value: &[u8]) -> Result<Session, UnreadableRecord> {
        match self {
            Self::Sealed(sealer) => sealer.open(value),
            Self::Plain(_) => plain::decode(value).map_err(UnreadableRecord::Corrupt),
        }
    }
}

/// A record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum UnreadableRecord {
    #[error(transparent)]
    Corrupt(CorruptRecord),
    /// A rollback is under way: the session is alive, for instances that are newer than this
    /// one.
    #[error("the record has version {version}, written by a newer release")]
    Newer { version: u8 },
}

impl From<UnreadableRecord> for RepositoryError {
    fn from(error: UnreadableRecord) -> Self {
        match error {
            UnreadableRecord::Corrupt(corrupt) => Self::corrupt(corrupt),
            UnreadableRecord::Newer { .. } => Self::unavailable(error),
        }
    }
}
