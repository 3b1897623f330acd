//! What a gateway is told of a session: never a cookie or a token.

use serde::Serialize;
use tee_session_auth_middleware::CurrentSession;
use tee_session_domain::{SessionId, Subject};
use utoipa::ToSchema;

use super::{Timestamp, as_text, sub};
use crate::openapi::schemas;

/// The answer to `/v1/authorize`, in the shape that Oathkeeper reads: who it is in `sub`, the rest
/// in `extra`.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuthorizedBody<'a> {
    /// The subject, or the session's id if it has none.
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::subject, required = false)]
    subject: Option<&'a str>,
    extra: Extra<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthorizedExtra)]
struct Extra<'a> {
    #[serde(serialize_with = "as_text")]
    #[schema(schema_with = schemas::session_id)]
    session_id: SessionId,
    #[schema(schema_with = schemas::base_url)]
    base_url: &'a str,
    #[schema(schema_with = schemas::created_at)]
    created_at: Timestamp,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
}

impl<'a> AuthorizedBody<'a> {
    pub(crate) fn new(current: &'a CurrentSession) -> Self {
        let session_id = current.session_id();
        Self {
            sub: sub(&current.session, session_id),
            subject: current.session.subject.as_ref().map(Subject::as_str),
            extra: Extra {
                session_id,
                base_url: current.session.base_url.as_str(),
                created_at: Timestamp(current.session.created_at),
                expires_at: Timestamp(current.expires_at),
            },
        }
    }
}
