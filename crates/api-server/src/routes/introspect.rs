//! `POST /v1/introspect`: reports whether a token is active (RFC 7662).

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde::Serialize;
use tee_session_domain::{ActiveSession, SessionId, SessionRepository};
use utoipa::{
    ToSchema,
    openapi::{
        AllOfBuilder, OneOfBuilder, RefOr, Schema, Type,
        schema::{AdditionalProperties, ObjectBuilder},
    },
};

use crate::{
    openapi::{
        problems::{FormBody, IntrospectScope, OAuthProblems, StoreUnavailable},
        schemas::{self, SUBJECT, TOKEN},
    },
    problem::ApiError,
    request::scope::Scope,
    routes::oauth_error::OAuthError,
    routes::token_request::token_in_request,
    settings::ApiSettings,
    store::sessions::Sessions,
    wire::{self, TokenForm, sub},
};

pub(super) const INTROSPECT: &str = "/v1/introspect";

/// Returns whether the token in the request form is active. Requires a service client with the
/// scope `introspect`. Does not touch the session (does not renew its TTL).
#[utoipa::path(
    post,
    path = INTROSPECT,
    tag = "Tokens",
    operation_id = "introspect",
    summary = "Check whether a token is active",
    description = "RFC 7662. The request does not restart the idle timeout.",
    request_body(
        content = TokenForm,
        content_type = "application/x-www-form-urlencoded",
        example = json!({"token": TOKEN, "token_type_hint": "access_token"}),
    ),
    responses(
        (
            status = 200,
            description = "The state of the token. For an inactive token: `{\"active\": false}`.",
            body = IntrospectedBody,
            example = json!({
                "active": true,
                "token_type": "Bearer",
                "exp": 1_768_474_800,
                "iat": 1_768_473_000,
                "sub": SUBJECT,
            }),
        ),
        OAuthProblems<(IntrospectScope, FormBody, StoreUnavailable)>,
    ),
    security(("service_client" = [Scope::Introspect.as_str()])),
)]
pub(super) async fn introspect<R: SessionRepository>(
    request: HttpRequest,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, OAuthError> {
    let token = token_in_request(&request, payload, &settings, Scope::Introspect).await?;
    let Some(token) = token else {
        return Ok(wire::ok(&IntrospectedBody::INACTIVE));
    };
    let introspected = match sessions.get_without_touch(&token).await {
        Ok(Some(active)) => IntrospectedBody::active(SessionId::of(&token), &active),
        Ok(None) => IntrospectedBody::INACTIVE,
        Err(error) if error.proves_invalid_token() => IntrospectedBody::INACTIVE,
        Err(error) => return Err(ApiError::from(error).into()),
    };
    Ok(wire::ok(&introspected))
}

/// Response to `POST /v1/introspect`. For an inactive token, the response contains only the member
/// `active`.
#[derive(Serialize)]
struct IntrospectedBody {
    active: bool,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize, ToSchema)]
struct Details {
    #[schema(schema_with = schemas::token_type)]
    token_type: &'static str,
    /// Earliest time at which the session expires, in whole seconds since 1970.
    exp: i64,
    /// Time at which the session was created, in whole seconds since 1970.
    iat: i64,
    /// The subject, or the session id if the session has no subject.
    sub: String,
}

impl IntrospectedBody {
    const INACTIVE: Self = Self {
        active: false,
        details: None,
    };

    fn active(id: SessionId, active: &ActiveSession) -> Self {
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

/// Describes two variants of the response: an active token with all details, and an inactive token
/// with the member `active` only.
impl utoipa::PartialSchema for IntrospectedBody {
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
        // Tools that generate clients derive the names of types from these titles.
        let inactive = active(false)
            .title(Some("InactiveToken"))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let active = AllOfBuilder::new()
            .title(Some("ActiveToken"))
            .item(active(true))
            .item(<Details as utoipa::PartialSchema>::schema());
        OneOfBuilder::new().item(active).item(inactive).into()
    }
}

impl ToSchema for IntrospectedBody {}
