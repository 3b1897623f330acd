//! Records: what stands in Redis for a session. The seam for storage formats.

mod plain;

use std::str::FromStr;

use bytes::Bytes;
use fred::types::Key;
use tee_session_domain::{Session, SessionToken};
use thiserror::Error;

use crate::CorruptRecord;

/// What is written to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StorageFormat {
    /// The key holds the token and the value is readable JSON, as the project's first service
    /// (in Python) writes it, so that both can share one Redis.
    #[default]
    Plain,
}

impl StorageFormat {
    /// The name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
        }
    }

    /// The key of the session that `token` opens.
    pub(crate) fn key(self, token: &SessionToken) -> Key {
        match self {
            Self::Plain => plain::key(token),
        }
    }

    /// The value that stands for `session`.
    pub(crate) fn encode(self, session: &Session) -> Bytes {
        match self {
            Self::Plain => plain::encode(session),
        }
    }

    /// The session that `value` stands for, whoever wrote it.
    pub(crate) fn decode(self, value: &[u8]) -> Result<Session, CorruptRecord> {
        match self {
            Self::Plain => plain::decode(value),
        }
    }
}

impl FromStr for StorageFormat {
    type Err = UnknownStorageFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Plain]
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or(UnknownStorageFormat)
    }
}

/// There is no such storage format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the storage format must be plain")]
pub struct UnknownStorageFormat;
