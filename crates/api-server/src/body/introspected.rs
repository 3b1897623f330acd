//! What introspection tells (RFC 7662, section 2.2).

use serde::Serialize;
use tee_session_domain::{ActiveSession, SessionId};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, OneOfBuilder, RefOr, Schema, Type,
        schema::{AdditionalProperties, ObjectBuilder},
    },
};

use super::sub;
use crate::openapi::schemas;

/// The answer to `POST /v1/introspect`. Of a token that opens nothing it says just that.
#[derive(Serialize)]
pub(crate) struct IntrospectedBody {
    active: bool,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize, ToSchema)]
struct Details {
    #[schema(schema_with = schemas::token_type)]
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

/// The details stand there when the token is active, and then only.
impl PartialSchema for IntrospectedBody {
    fn schema() -> RefOr<Schema> {
        let active = |is: bool| {
            ObjectBuilder::new()
                .property(
                    "active",
                    ObjectBuilder::new()
                        .schema_type(Type::Boolean)
                        .enum_values(Some([is])),
                )
                .required("active")
        };
        // Generated clients name their types by the titles.
        let inactive = active(false)
            .title(Some("InactiveToken"))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let active = AllOfBuilder::new()
            .title(Some("ActiveToken"))
            .item(active(true))
            .item(Details::schema());
        OneOfBuilder::new().item(active).item(inactive).into()
    }
}

impl ToSchema for IntrospectedBody {}
