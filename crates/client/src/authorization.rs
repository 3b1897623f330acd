//! Response to the call `GET /v1/authorize`, with which a gateway authorizes a request.

use serde::Deserialize;
use tee_session_domain::{BaseUrl, SessionId};
use time::OffsetDateTime;

use crate::{ClientError, response::SuccessResponse, wire};

/// Data of a session without its cookies, for a gateway that authorizes requests. Returned by
/// [`SessionClient::authorize`](crate::SessionClient::authorize).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorization {
    /// Subject of the session, or the session id if the session has no subject.
    pub sub: String,
    /// Subject of the session. `None` if the session has no subject.
    pub subject: Option<String>,
    /// Public id of the session, for operators. The id gives no access to the session.
    pub session_id: SessionId,
    /// Base URL of the upstream site. The cookies of the session belong to this site.
    pub base_url: BaseUrl,
    /// Creation time of the session.
    pub created_at: OffsetDateTime,
    /// Earliest time at which the session can expire. A request that uses the session may postpone
    /// this time.
    pub expires_at: OffsetDateTime,
}

impl Authorization {
    pub(crate) fn from_response(response: &SuccessResponse) -> Result<Self, ClientError> {
        let body: Body = response.decode("an authorization")?;
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
