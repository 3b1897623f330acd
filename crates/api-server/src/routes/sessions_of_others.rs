//! `/v1/sessions`: sessions of others, for service clients that may manage them.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};
use tee_session_domain::{SessionError, SessionRepository};
use tokio::time::Instant;

use super::Sessions;
use crate::{
    body::{self, ListedSessions, RevokedSessions},
    deadline::end_by,
    problem::ApiError,
    service_client::Scope,
    sessions_query::SessionsQuery,
    settings::ApiSettings,
};

/// A subject may have many sessions: what is done to them all takes longer than other answers may.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

async fn bound<T>(call: impl Future<Output = Result<T, SessionError>>) -> Result<T, SessionError> {
    end_by(Instant::now() + ANSWER_WITHIN, call).await
}

/// `GET`: a page of the sessions of a subject.
pub(super) async fn list<R: SessionRepository>(
    request: HttpRequest,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    authorize(&request, &settings)?;
    let SessionsQuery {
        subject,
        limit,
        after,
    } = SessionsQuery::of_a_page(request.query_string())?;
    let page = bound(sessions.list(&subject, after, limit)).await?;
    Ok(body::ok(&ListedSessions::new(&page)))
}

/// `DELETE`: ends all sessions of a subject. It may be repeated.
pub(super) async fn revoke_all<R: SessionRepository>(
    request: HttpRequest,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    authorize(&request, &settings)?;
    let subject = SessionsQuery::of_all(request.query_string())?;
    let revoked = bound(sessions.revoke_all(&subject)).await?;
    Ok(body::ok(&RevokedSessions { revoked }))
}

/// `DELETE` of one session, by its id.
pub(super) async fn revoke<R: SessionRepository>(
    request: HttpRequest,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    authorize(&request, &settings)?;
    let id = request.match_info().get("session_id").unwrap_or_default();
    let id = id.parse().map_err(|_| ApiError::NotFound)?;
    if bound(sessions.revoke(id)).await? {
        Ok(HttpResponse::NoContent()
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish())
    } else {
        Err(ApiError::NotFound)
    }
}

fn authorize(request: &HttpRequest, settings: &ApiSettings) -> Result<(), ApiError> {
    let clients = &settings.service_clients;
    clients.authorize(request.head(), Scope::Admin)
}
