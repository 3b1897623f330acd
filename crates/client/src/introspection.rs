//! What a token is worth (RFC 7662).

use serde::Deserialize;
use time::OffsetDateTime;

use crate::ClientError;

/// What the service knows of a token that opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Introspection {
    /// The session's subject, or its id if it has none.
    pub sub: String,
    /// When the session was created, to the second.
    pub issued_at: OffsetDateTime,
    /// When it may end if nobody uses it, to the second.
    pub expires_at: OffsetDateTime,
}

#[derive(Deserialize)]
pub(crate) struct Answer {
    active: bool,
    sub: Option<String>,
    iat: Option<i64>,
    exp: Option<i64>,
}

impl Answer {
    pub(crate) fn into_active(self) -> Result<Option<Introspection>, ClientError> {
        if !self.active {
            return Ok(None);
        }
        let time = |seconds: Option<i64>| OffsetDateTime::from_unix_timestamp(seconds?).ok();
        match (self.sub, time(self.iat), time(self.exp)) {
            (Some(sub), Some(issued_at), Some(expires_at)) => Ok(Some(Introspection {
                sub,
                issued_at,
                expires_at,
            })),
            _ => Err(ClientError::Decode("introspection")),
        }
    }
}
