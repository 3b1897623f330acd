//! `POST /v1/introspect`: whether a token opens a session (RFC 7662).

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use tee_session_domain::{RepositoryError, SessionError, SessionId, SessionRepository};

use super::{Sessions, token_request::asked_about};
use crate::{
    body::{self, IntrospectedBody},
    oauth_error::OAuthError,
    problem::ApiError,
    service_client::Scope,
    settings::ApiSettings,
};

/// Tells it to who may ask; the session does not slide.
pub(super) async fn introspect<R: SessionRepository>(
    request: HttpRequest,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, OAuthError> {
    let token = asked_about(&request, payload, &settings, Scope::Introspect).await?;
    let Some(token) = token else {
        return Ok(body::ok(&IntrospectedBody::INACTIVE));
    };
    let answer = match sessions.peek(&token).await {
        Ok(Some(active)) => IntrospectedBody::active(SessionId::of(&token), &active),
        Ok(None) | Err(SessionError::Repository(RepositoryError::Corrupt { .. })) => {
            IntrospectedBody::INACTIVE
        }
        Err(error) => return Err(ApiError::from(error).into()),
    };
    Ok(body::ok(&answer))
}
