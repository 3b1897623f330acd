//! `/v1/session/rotate`: a new token for the session.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use tee_session_auth_middleware::BearerToken;
use tee_session_domain::{IdempotencyStore, SessionId, SessionRepository};

use super::session::Bearer;
use crate::{
    openapi::{
        problems::{Idempotency, Problems, StoreFull},
        schemas::IdempotencyKeyField,
    },
    problem::ApiError,
    request::completion::{Requester, deliver, deliver_or_keep},
    request::idempotency::{self, IDEMPOTENCY_KEY_USE, idempotent_request, mark_replay},
    request::precondition::with_etag,
    routes::sessions::CreatedSession,
    settings::ApiSettings,
    store::sessions::Sessions,
    wire,
};

pub(super) const SESSION_ROTATE: &str = "/v1/session/rotate";

/// Answers `POST /v1/session/rotate`: gives the session a new token. A request body is ignored.
#[utoipa::path(
    post,
    path = SESSION_ROTATE,
    tag = "Session",
    operation_id = "rotateSession",
    summary = "Give the session a new token",
    description = "The session continues under a new token. After the response, the old token is \
                   invalid on every instance. The access restarts the idle timeout; the absolute \
                   lifetime, subject and label are kept. A client that does not receive the \
                   response must log in again, unless it sent an `Idempotency-Key`.",
    params((
        "Idempotency-Key" = inline(Option<IdempotencyKeyField>),
        Header,
        nullable = false,
        description = IDEMPOTENCY_KEY_USE,
    )),
    responses(
        (
            status = 200,
            description = "The session and its new token. The token cannot be retrieved again.",
            headers(("ETag"), ("Idempotency-Replayed")),
            body = CreatedSession<'_>,
            example = CreatedSession::example,
        ),
        Problems<(Bearer, Idempotency, StoreFull)>,
    ),
    security(("session_token" = [])),
)]
pub(super) async fn rotate<R: SessionRepository>(
    request: HttpRequest,
    token: BearerToken,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let BearerToken(token) = token;
    let credential = Some(token.expose_secret().as_bytes());
    let key = idempotency::key_of(request.headers(), "rotate", credential)?;
    let rotated = match key.filter(|_| sessions.repository().idempotency().keeps_records()) {
        Some(key) => {
            let once = idempotent_request(key, &[], &settings);
            let rotate = async move |sessions: &Sessions<R>, requester: &Requester<_>| {
                let may_move = || requester.is_waiting();
                sessions.rotate_once(&token, &once, may_move).await
            };
            deliver_or_keep(&request, &sessions, &settings, rotate).await?
        }
        None => {
            let rotate = async move |sessions: &Sessions<R>, requester: &Requester| {
                let is_partitioned = sessions.repository().is_partitioned();
                let may_move = || requester.has_time_to_rotate(is_partitioned);
                sessions.rotate_while(&token, may_move).await
            };
            deliver(&request, &sessions, &settings, rotate)
                .await?
                .into()
        }
    };
    let mut response = wire::ok(&CreatedSession::new(
        &rotated,
        SessionId::of(&rotated.token),
    ));
    mark_replay(&mut response, rotated.is_replay);
    Ok(with_etag(response, rotated.result.tag))
}
