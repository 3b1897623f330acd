//! Whose session it is.

use serde::Deserialize;
use tee_session_domain::{BaseUrl, SessionId};
use time::OffsetDateTime;

use crate::{ClientError, answer::Answer, wire};

/// What gateways are told of a session: nothing that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorization {
    /// Its subject, or its id if it has none.
    pub sub: String,
    /// Its subject, if it has one.
    pub subject: Option<String>,
    /// The id that names it to operators, and opens nothing.
    pub session_id: SessionId,
    /// The upstream site.
    pub base_url: BaseUrl,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it may end if nobody uses it.
    pub expires_at: OffsetDateTime,
}

impl Authorization {
    pub(crate) fn from_answer(answer: &Answer) -> Result<Self, ClientError> {
        let body: Body = answer.decode("authorization")?;
        Ok(Self {
            sub: body.sub,
            subject: body.subject,
            session_id: body.extra.session_id,
            base_url: body.extra.base_url,
            created_at: body.extra.created_at,
            expires_at: body.extra.expires_at,
        })
    }
}

#[derive(Deserialize)]
struct Body {
    sub: String,
    subject: Option<String>,
    extra: Extra,
}

#[derive(Deserialize)]
struct Extra {
    #[serde(deserialize_with = "wire::parsed")]
    session_id: SessionId,
    #[serde(deserialize_with = "wire::base_url")]
    base_url: BaseUrl,
    #[serde(deserialize_with = "wire::time")]
    created_at: OffsetDateTime,
    #[serde(deserialize_with = "wire::time")]
    expires_at: OffsetDateTime,
}
