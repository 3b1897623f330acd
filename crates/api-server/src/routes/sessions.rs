//! `POST /v1/sessions`: creates sessions, for service clients.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, LOCATION},
    web::{Data, Payload},
};
use serde::Serialize;
use serde_json::{Value, json};
use tee_session_domain::{IdempotencyStore, IdempotentSession, SessionId, SessionRepository};
use utoipa::ToSchema;

use crate::{
    metrics::ignored_cookies,
    openapi::{
        problems::{
            CreateScope, Idempotency, InvalidSession, JsonBody, Problems, SessionLimit, StoreFull,
            StoreUnavailable,
        },
        schemas::{
            self, BASE_URL, EXPIRES_AT, IdempotencyKeyField, LABEL, SESSION_ID, SUBJECT, TOKEN,
        },
    },
    problem::ApiError,
    request::bodies_under_way::Credential,
    request::body::read_json,
    request::caller::authenticate,
    request::completion::{Requester, deliver, deliver_or_keep},
    request::idempotency::{self, IDEMPOTENCY_KEY_USE, idempotent_request, mark_replay},
    request::precondition::with_etag,
    request::scope::Scope,
    settings::ApiSettings,
    store::sessions::Sessions,
    wire::{CreateSession, IgnoredCookie, Timestamp},
};

pub(super) const SESSIONS: &str = "/v1/sessions";

/// Answers `POST /v1/sessions`: creates a session from the request body, and returns the token of
/// the new session.
#[utoipa::path(
    post,
    path = SESSIONS,
    tag = "Sessions",
    operation_id = "createSession",
    summary = "Create a session",
    description = "Stores an upstream login as a session, and returns a new token for it. Cookies \
                   that a session cannot hold are left out, and listed in `ignored`.",
    params((
        "Idempotency-Key" = inline(Option<IdempotencyKeyField>),
        Header,
        nullable = false,
        description = IDEMPOTENCY_KEY_USE,
    )),
    request_body(
        content = CreateSession,
        example = json!({
            "cookies": {"SESSIONID": "a1b2c3"},
            "base_url": BASE_URL,
            "subject": SUBJECT,
            "label": LABEL,
        }),
    ),
    responses(
        (
            status = 201,
            description = "The session and its token. The token cannot be retrieved again.",
            headers(("ETag"), ("Location"), ("Idempotency-Replayed")),
            body = CreatedSession<'_>,
            example = CreatedSession::example,
        ),
        Problems<(
            CreateScope,
            JsonBody,
            InvalidSession,
            SessionLimit,
            Idempotency,
            StoreUnavailable,
            StoreFull,
        )>,
    ),
    security(("service_client" = [Scope::Create.as_str()])),
)]
pub(super) async fn create<R: SessionRepository>(
    request: HttpRequest,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let client = authenticate(&request, &settings, Scope::Create)?;
    let headers = request.headers();
    let credential = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let key = idempotency::key_of(headers, "create", credential)?;
    let key = key.filter(|_| sessions.repository().idempotency().keeps_records());
    let caller = Credential::ServiceClient(client);
    let body = read_json(&request, payload, &settings, caller).await?;
    let parsed = CreateSession::parse(&body, &settings.allowed_base_hosts)?;
    let (login, ignored) = (parsed.login, parsed.ignored);
    let created = match key {
        Some(key) => {
            let once = idempotent_request(key, &body, &settings);
            let create = async move |sessions: &Sessions<R>, requester: &Requester<_>| {
                let is_wanted = || requester.has_time_to_evict();
                sessions.store_login_once(&once, login, is_wanted).await
            };
            deliver_or_keep(&request, &sessions, &settings, create)
                .await
                .map_err(ApiError::of_login)?
        }
        None => {
            let create = async move |sessions: &Sessions<R>, requester: &Requester| {
                let is_wanted = || requester.has_time_to_evict();
                sessions.store_login_while(login, is_wanted).await
            };
            deliver(&request, &sessions, &settings, create)
                .await
                .map_err(ApiError::of_login)?
                .into()
        }
    };
    // The first response to the same request has already counted them.
    if !created.is_replay {
        ignored_cookies::count(&ignored);
    }
    let id = SessionId::of(&created.token);
    let mut response = HttpResponse::Created()
        .insert_header((LOCATION, format!("/v1/sessions/{id}")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(CreatedSession {
            ignored: IgnoredCookie::all(&ignored),
            ..CreatedSession::new(&created, id)
        });
    mark_replay(&mut response, created.is_replay);
    Ok(with_etag(response, created.result.tag))
}

/// Response to `POST /v1/sessions` and `POST /v1/session/rotate`, with the member names of
/// RFC 6749, section 5.1.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedSession<'a> {
    #[schema(schema_with = schemas::token)]
    access_token: &'a str,
    #[schema(schema_with = schemas::token_type)]
    token_type: &'static str,
    /// Seconds until the session expires if it is not accessed.
    expires_in: u64,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
    #[schema(schema_with = schemas::session_id)]
    session_id: String,
    /// Cookies of the request that were not stored. Absent if all cookies were stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignored: Vec<IgnoredCookie>,
}

impl<'a> CreatedSession<'a> {
    pub(super) fn new(created: &'a IdempotentSession, id: SessionId) -> Self {
        Self {
            access_token: created.token.expose_secret(),
            token_type: "Bearer",
            expires_in: created.result.ttl.as_secs(),
            expires_at: Timestamp(created.result.expires_at),
            session_id: id.to_string(),
            ignored: Vec::new(),
        }
    }

    pub(super) fn example() -> Value {
        json!({
            "access_token": TOKEN,
            "token_type": "Bearer",
            "expires_in": 1800,
            "expires_at": EXPIRES_AT,
            "session_id": SESSION_ID,
        })
    }
}
