//! `POST /v1/revoke`: revokes a token and ends its session (RFC 7009).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::CACHE_CONTROL,
    web::{Data, Payload},
};
use tee_session_domain::SessionRepository;

use crate::{
    openapi::{
        problems::{FormBody, OAuthProblems, RevokeScope, StoreUnavailable},
        schemas::TOKEN,
    },
    problem::ApiError,
    request::completion::finish,
    request::deadline::Deadline,
    request::scope::Scope,
    routes::oauth_error::OAuthError,
    routes::token_request::token_in_request,
    settings::ApiSettings,
    store::sessions::Sessions,
    wire::TokenForm,
};

pub(super) const REVOKE: &str = "/v1/revoke";

/// Ends the session of the token in the request form. The status is 200 even if the token was
/// already invalid (RFC 7009, section 2.2).
#[utoipa::path(
    post,
    path = REVOKE,
    tag = "Tokens",
    operation_id = "revoke",
    summary = "End the session of a token",
    description = "RFC 7009.",
    request_body(
        content = TokenForm,
        content_type = "application/x-www-form-urlencoded",
        example = json!({"token": TOKEN, "token_type_hint": "access_token"}),
    ),
    responses(
        (
            status = 200,
            description = "The token is invalid, whether or not it was valid before.",
        ),
        OAuthProblems<(RevokeScope, FormBody, StoreUnavailable)>,
    ),
    security(("service_client" = [Scope::Revoke.as_str()])),
)]
pub(super) async fn revoke<R: SessionRepository>(
    request: HttpRequest,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, OAuthError> {
    let token = token_in_request(&request, payload, &settings, Scope::Revoke).await?;
    if let Some(token) = token {
        let delete = async move { sessions.delete(&token).await };
        match finish(&request, Deadline::of(&request), delete).await {
            Err(error) if !error.proves_invalid_token() => return Err(ApiError::from(error).into()),
            _ => {}
        }
    }
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish())
}
