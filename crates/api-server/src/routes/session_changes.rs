//! What changes the session that the bearer token opens.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use tee_session_auth_middleware::BearerToken;
use tee_session_domain::{EntityTag, SessionId, SessionRepository};

use super::Sessions;
use crate::{
    body::{self, CreatedSession, SessionBody, parse_patch},
    deadline::Deadline,
    precondition::{Preconditions, with_etag},
    problem::ApiError,
    request_body::read_merge_patch,
    settings::ApiSettings,
};

/// `PATCH /v1/session`: other cookies, another base URL (RFC 5789, RFC 7396). The session slides.
pub(super) async fn update<R: SessionRepository>(
    request: HttpRequest,
    token: BearerToken,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let BearerToken(token) = token;
    let body = read_merge_patch(&request, payload, settings.max_body_bytes).await?;
    let patch = parse_patch(&body, &settings.allowed_base_hosts)?;
    let preconditions = Preconditions::of(request.headers())?;
    let update = sessions.update(&token, &patch, |tag| preconditions.allows_change(tag));
    let active = Deadline::bound(&request, update).await?;
    let answer = SessionBody::new(SessionId::of(&token), &active).answer();
    Ok(with_etag(answer, EntityTag::of(&token, &active.session)))
}

/// `POST /v1/session/rotate`: the same session under a new token. A body is ignored.
pub(super) async fn rotate<R: SessionRepository>(
    request: HttpRequest,
    token: BearerToken,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let new = Deadline::bound(&request, sessions.rotate(&token.0)).await?;
    let answer = body::ok(&CreatedSession::new(&new, SessionId::of(&new.token)));
    Ok(with_etag(answer, EntityTag::of(&new.token, &new.session)))
}
