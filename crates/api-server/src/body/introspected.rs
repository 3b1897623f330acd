//! What introspection tells (RFC 7662, section 2.2).

use serde::Serialize;
use tee_session_domain::{ActiveSession, SessionId};

use super::sub;

/// The answer to `POST /v1/introspect`. Of a token that opens nothing it says just that.
#[derive(Serialize)]
pub(crate) struct IntrospectedBody {
    active: bool,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    token_type: &'static str,
    /// Whole seconds since 1970, as for `iat`: the session lives at least so long.
    exp: i64,
    iat: i64,
    /// The subject, or the session's id if it has none.
    sub: String,
}

impl IntrospectedBody {
    pub(crate) const INACTIVE: Self = Self {
        active: false,
        details: None,
    };

    pub(crate) fn active(id: SessionId, active: &ActiveSession) -> Self {
        Self {
            active: true,
            details: Some(Details {
                token_type: "Bearer",
                exp: active.expires_at.unix_timestamp(),
                iat: active.session.created_at.unix_timestamp(),
                sub: sub(&active.session, id),
            }),
        }
    }
}
