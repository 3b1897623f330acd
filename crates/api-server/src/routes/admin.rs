//! `/v1/sessions` and `/v1/sessions/{session_id}`: list, find and end sessions, for service clients
//! with the scope `admin`.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde::Serialize;
use tee_session_domain::{FoundSession, ListedSession, SessionId, SessionPage, SessionRepository};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    openapi::{
        problems::{AdminScope, MalformedQuery, NotFound, Problems, StoreFull, StoreUnavailable},
        schemas::{
            self, CREATED_AT, CURSOR, EXPIRES_AT, LABEL, LAST_SEEN, Limit, ListCursor, SESSION_ID,
            SUBJECT, SessionIdOfACall, SubjectText,
        },
    },
    problem::ApiError,
    request::caller::authenticate,
    request::completion::finish,
    request::deadline::abort_at,
    request::scope::Scope,
    routes::sessions::SESSIONS,
    routes::sessions_query::SessionsQuery,
    settings::ApiSettings,
    store::sessions::Sessions,
    wire::{self, AttributeMembers, Timestamp, as_text},
};

pub(super) const SESSION_BY_ID: &str = "/v1/sessions/{session_id}";

/// Timeout of requests that list or end the sessions of a subject. This timeout is longer than the
/// usual [`ApiSettings::answer_timeout`], because a subject may have many sessions.
const SUBJECT_TIMEOUT: Duration = Duration::from_secs(5);

fn subject_deadline() -> Instant {
    Instant::now() + SUBJECT_TIMEOUT
}

/// Answers `GET /v1/sessions` with a page of the sessions of a subject.
#[utoipa::path(
    get,
    path = SESSIONS,
    tag = "Sessions",
    operation_id = "listSessions",
    summary = "List the sessions of a subject",
    description = "The oldest session comes first. The list contains neither tokens nor cookies. A \
                   page may have fewer sessions than `limit` even if it is not the last page.",
    params(
        (
            "subject" = inline(SubjectText),
            Query,
            description = "Owner of the sessions.",
            example = json!(SUBJECT),
        ),
        (
            "limit" = inline(Option<Limit>),
            Query,
            description = "Maximum number of sessions on a page.",
            example = 10,
        ),
        (
            "after" = inline(Option<ListCursor>),
            Query,
            description = "The cursor `next` of the previous page.",
            example = json!(CURSOR),
        ),
    ),
    responses(
        (
            status = 200,
            description = "A page of sessions.",
            body = ListedSessions<'_>,
            example = json!({
                "sessions": [{
                    "session_id": SESSION_ID,
                    "created_at": CREATED_AT,
                    "last_seen": LAST_SEEN,
                    "expires_at": EXPIRES_AT,
                    "label": LABEL,
                }],
                "next": CURSOR,
            }),
        ),
        Problems<(AdminScope, MalformedQuery, StoreUnavailable)>,
    ),
    security(("service_client" = [Scope::Admin.as_str()])),
)]
pub(super) async fn list<R: SessionRepository>(
    request: HttpRequest,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    authenticate(&request, &settings, Scope::Admin)?;
    let SessionsQuery {
        subject,
        limit,
        after,
    } = SessionsQuery::parse_list(request.query_string())?;
    let list = sessions.list(&subject, after, limit);
    let page = abort_at(subject_deadline(), list).await?;
    tracing::info!(listed = page.sessions.len(), "Sessions of a subject listed");
    Ok(wire::ok(&ListedSessions::new(&page)))
}

/// Answers `DELETE /v1/sessions`: ends all sessions of a subject. The request is idempotent.
#[utoipa::path(
    delete,
    path = SESSIONS,
    tag = "Sessions",
    operation_id = "revokeSessions",
    summary = "End all sessions of a subject",
    description = "After the response, the tokens of these sessions are invalid on every instance. \
                   A session that is created at the same time is either ended or not affected at \
                   all. The request may be repeated, and must be repeated after a 503.",
    params((
        "subject" = inline(SubjectText),
        Query,
        description = "Owner of the sessions.",
        example = json!(SUBJECT),
    )),
    responses(
        (
            status = 200,
            description = "The sessions have ended.",
            body = RevokedSessions,
            example = json!({"revoked": 3}),
        ),
        Problems<(AdminScope, MalformedQuery, StoreUnavailable, StoreFull)>,
    ),
    security(("service_client" = [Scope::Admin.as_str()])),
)]
pub(super) async fn revoke_all<R: SessionRepository>(
    request: HttpRequest,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    authenticate(&request, &settings, Scope::Admin)?;
    let subject = SessionsQuery::parse_revoke_all(request.query_string())?;
    let revoke_all = async move { sessions.revoke_all(&subject).await };
    let revoked = finish(&request, Some(subject_deadline()), revoke_all).await?;
    Ok(wire::ok(&RevokedSessions { revoked }))
}

/// Answers `GET /v1/sessions/{session_id}`: returns the time at which the session expires, or 404
/// if no session with this id is found. Does not renew the TTL of the session.
#[utoipa::path(
    get,
    path = SESSION_BY_ID,
    tag = "Sessions",
    operation_id = "getSessionById",
    summary = "Get the expiry time of a session",
    description = "Finds the same sessions as `DELETE`: if records are stored in plain format, only \
                   sessions that have a subject. The request does not restart the idle timeout. If \
                   `subject` is given, the session must belong to the subject, and the response \
                   contains its details. Without `subject`, the service does not know when the \
                   session was created: if it has an absolute lifetime, it may end before \
                   `expires_at`.",
    params(
        (
            "session_id" = inline(SessionIdOfACall),
            Path,
            description = "Public id of the session.",
            example = json!(SESSION_ID),
        ),
        (
            "subject" = inline(Option<SubjectText>),
            Query,
            description = "Owner of the session.",
        ),
    ),
    responses(
        (
            status = 200,
            description = "The session lives.",
            body = SessionById<'_>,
            example = json!({
                "session_id": SESSION_ID,
                "expires_at": EXPIRES_AT,
                "created_at": CREATED_AT,
                "last_seen": LAST_SEEN,
                "label": LABEL,
            }),
        ),
        Problems<(AdminScope, MalformedQuery, NotFound, StoreUnavailable)>,
    ),
    security(("service_client" = [Scope::Admin.as_str()])),
)]
pub(super) async fn show<R: SessionRepository>(
    request: HttpRequest,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    authenticate(&request, &settings, Scope::Admin)?;
    let id = requested_id(&request)?;
    let subject = SessionsQuery::parse_show(request.query_string())?;
    let find = sessions.find(id, subject.as_ref());
    let found = abort_at(subject_deadline(), find).await?;
    let found = found.ok_or(ApiError::NotFound)?;
    Ok(wire::ok(&SessionById::new(id, &found)))
}

/// Answers `DELETE /v1/sessions/{session_id}`: ends one session, or returns 404 if no session with
/// this id is found.
#[utoipa::path(
    delete,
    path = SESSION_BY_ID,
    tag = "Sessions",
    operation_id = "revokeSession",
    summary = "End a session",
    description = "Ends the session with this public id. If records are stored in plain format, \
                   only sessions that have a subject are found.",
    params((
        "session_id" = inline(SessionIdOfACall),
        Path,
        description = "Public id of the session.",
        example = json!(SESSION_ID),
    )),
    responses(
        (status = 204, description = "The session has ended."),
        Problems<(AdminScope, NotFound, StoreUnavailable)>,
    ),
    security(("service_client" = [Scope::Admin.as_str()])),
)]
pub(super) async fn revoke<R: SessionRepository>(
    request: HttpRequest,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    authenticate(&request, &settings, Scope::Admin)?;
    let id = requested_id(&request)?;
    let revoke = async move { sessions.revoke(id).await };
    if finish(&request, Some(subject_deadline()), revoke).await? {
        Ok(HttpResponse::NoContent()
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish())
    } else {
        Err(ApiError::NotFound)
    }
}

/// Returns the session id in the path of the request. If the text is not a session id, returns the
/// error for an unknown session (404).
fn requested_id(request: &HttpRequest) -> Result<SessionId, ApiError> {
    let id = request.match_info().get("session_id").unwrap_or_default();
    id.parse().map_err(|_| ApiError::NotFound)
}

/// Response to `GET /v1/sessions/{session_id}`. The members after `expires_at` are present if the
/// request names the subject.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionById)]
struct SessionById<'a> {
    #[serde(serialize_with = "as_text")]
    #[schema(schema_with = schemas::session_id)]
    session_id: SessionId,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::created_at, required = false)]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::last_seen, required = false)]
    last_seen: Option<Timestamp>,
    #[serde(flatten)]
    #[schema(ignore)]
    attributes: AttributeMembers<'a>,
}

impl<'a> SessionById<'a> {
    fn new(session_id: SessionId, found: &'a FoundSession) -> Self {
        let details = found.details.as_ref();
        let attributes = details.map(|details| AttributeMembers::of_listed(&details.attributes));
        Self {
            session_id,
            expires_at: Timestamp(found.expires_at),
            created_at: details.map(|details| Timestamp(details.created_at)),
            last_seen: details.map(|details| Timestamp(details.last_seen)),
            attributes: attributes.unwrap_or_default(),
        }
    }
}

/// Response to `GET /v1/sessions`.
#[derive(Serialize, ToSchema)]
struct ListedSessions<'a> {
    /// Sessions in the order of their creation, the oldest first.
    sessions: Vec<Listed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::cursor, required = false)]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ListedSession)]
struct Listed<'a> {
    #[serde(serialize_with = "as_text")]
    #[schema(schema_with = schemas::session_id)]
    session_id: SessionId,
    #[schema(schema_with = schemas::created_at)]
    created_at: Timestamp,
    #[schema(schema_with = schemas::last_seen)]
    last_seen: Timestamp,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
    #[serde(flatten)]
    #[schema(ignore)]
    attributes: AttributeMembers<'a>,
}

impl<'a> ListedSessions<'a> {
    fn new(page: &'a SessionPage) -> Self {
        Self {
            sessions: page.sessions.iter().map(Listed::from).collect(),
            next: page.next.map(|next| next.to_string()),
        }
    }
}

impl<'a> From<&'a ListedSession> for Listed<'a> {
    fn from(session: &'a ListedSession) -> Self {
        Self {
            session_id: session.id,
            created_at: Timestamp(session.created_at),
            last_seen: Timestamp(session.last_seen),
            expires_at: Timestamp(session.expires_at),
            attributes: AttributeMembers::of_listed(&session.attributes),
        }
    }
}

/// Response to `DELETE /v1/sessions`.
#[derive(Serialize, ToSchema)]
struct RevokedSessions {
    /// Number of sessions that were ended.
    revoked: usize,
}
