//! Result of a token introspection (RFC 7662).

use serde::Deserialize;
use time::OffsetDateTime;

use crate::ClientError;

/// Information about a valid token, returned by [`Client::introspect`](crate::Client::introspect).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Introspection {
    /// Subject of the session, or the session id if the session has no subject.
    pub sub: String,
    /// Creation time of the session, in whole seconds.
    pub issued_at: OffsetDateTime,
    /// Earliest time at which the session can expire, in whole seconds. A request that uses the
    /// session may postpone this time.
    pub expires_at: OffsetDateTime,
}

#[derive(Deserialize)]
pub(crate) struct ResponseBody {
    active: bool,
    sub: Option<String>,
    iat: Option<i64>,
    exp: Option<i64>,
}

impl ResponseBody {
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
            _ => Err(ClientError::Decode("an introspection response")),
        }
    }
}
