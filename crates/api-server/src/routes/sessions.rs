//! `/v1/sessions`: for service clients.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, LOCATION},
    web::{Data, Payload},
};
use tee_session_domain::{EntityTag, SessionId, SessionRepository};

use super::Sessions;
use crate::{
    body::{CreateSession, CreatedSession},
    deadline::Deadline,
    precondition::with_etag,
    problem::ApiError,
    request_body::read_json,
    service_client::Scope,
    settings::ApiSettings,
};

/// `POST`: puts an upstream login behind a new token.
pub(super) async fn create<R: SessionRepository>(
    request: HttpRequest,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    settings
        .service_clients
        .authorize(request.head(), Scope::Create)?;
    let body = read_json(&request, payload, settings.max_body_bytes).await?;
    let login = CreateSession::parse(&body, &settings.allowed_base_hosts)?.into();
    let new = Deadline::bound(&request, sessions.store_login(login)).await?;
    let id = SessionId::of(&new.token);
    let answer = HttpResponse::Created()
        .insert_header((LOCATION, format!("/v1/sessions/{id}")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(CreatedSession::new(&new, id));
    Ok(with_etag(answer, EntityTag::of(&new.token, &new.session)))
}
