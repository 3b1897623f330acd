//! `/v1/session`: the session that the bearer token opens.

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL};
use tee_session_auth_middleware::{AuthError, BearerToken, CurrentSession};
use tee_session_domain::{EntityTag, SessionRepository};

use super::Sessions;
use crate::{
    body::{self, SessionBody, TtlBody},
    deadline::Deadline,
    precondition::{Preconditions, with_etag},
    problem::ApiError,
};

/// `GET`: the session; it slides, whatever the preconditions say of it.
pub(super) async fn show(
    request: HttpRequest,
    current: CurrentSession,
) -> Result<HttpResponse, ApiError> {
    let tag = EntityTag::of(current.token(), &current.session);
    // In this order (RFC 9110, section 13.2.2).
    let preconditions = Preconditions::of(request.headers())?;
    if !preconditions.allows(tag) {
        return Err(ApiError::PreconditionFailed);
    }
    let answer = if preconditions.is_known(tag) {
        HttpResponse::NotModified()
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish()
    } else {
        SessionBody::new(current.session_id(), &current).answer()
    };
    Ok(with_etag(answer, tag))
}

/// `DELETE`: logout.
pub(super) async fn delete<R: SessionRepository>(
    request: HttpRequest,
    token: BearerToken,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    if Deadline::bound(&request, sessions.delete(&token.0)).await? {
        Ok(HttpResponse::NoContent()
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish())
    } else {
        Err(AuthError::InvalidToken.into())
    }
}

/// `GET ttl`: what is left of the session; it does not slide.
pub(super) async fn ttl<R: SessionRepository>(
    token: BearerToken,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let ttl = sessions
        .ttl(&token.0)
        .await?
        .ok_or(AuthError::InvalidToken)?;
    Ok(body::ok(&TtlBody::from(ttl)))
}
