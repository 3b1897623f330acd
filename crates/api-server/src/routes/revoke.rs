//! `POST /v1/revoke`: ends the session of a token (RFC 7009).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::CACHE_CONTROL,
    web::{Data, Payload},
};
use tee_session_domain::{RepositoryError, SessionError, SessionRepository};

use super::{Sessions, token_request::asked_about};
use crate::{
    deadline::Deadline, oauth_error::OAuthError, problem::ApiError, service_client::Scope,
    settings::ApiSettings,
};

/// 200 once the token opens nothing, whether or not it did before (section 2.2).
pub(super) async fn revoke<R: SessionRepository>(
    request: HttpRequest,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, OAuthError> {
    let token = asked_about(&request, payload, &settings, Scope::Revoke).await?;
    if let Some(token) = token {
        match Deadline::bound(&request, sessions.delete(&token)).await {
            Ok(_) | Err(SessionError::Repository(RepositoryError::Corrupt { .. })) => {}
            Err(error) => return Err(ApiError::from(error).into()),
        }
    }
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish())
}
