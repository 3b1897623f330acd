//! The session of the bearer token: `/v1/session` and the paths below it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::CACHE_CONTROL,
    web::{Data, Payload},
};
use serde::Serialize;
use tee_session_auth_middleware::{AuthError, BearerToken, CurrentSession, InvalidMember};
use tee_session_domain::{
    BaseUrl, EntityTag, SessionId, SessionPatch, SessionRepository, SessionTtl,
};
use tee_session_upstream::Site;
use utoipa::ToSchema;

use crate::{
    openapi::{
        problems::{
            BearerToken as BearerTokenProblems, InvalidSession, MergePatchBody,
            Preconditions as Preconditioned, Problems, StoreFull, StoreUnavailable,
            TooManyInvalidTokens,
        },
        schemas::{
            self, AttributesRequested, BASE_URL, CREATED_AT, EXPIRES_AT, EntityTags, LABEL,
            SESSION_ID, SUBJECT,
        },
    },
    problem::ApiError,
    request::bodies_under_way::Credential,
    request::body::read_merge_patch,
    request::completion::finish,
    request::deadline::Deadline,
    request::precondition::{Preconditions, with_etag},
    settings::ApiSettings,
    store::sessions::Sessions,
    wire::{self, SessionBody, SessionPatchBody, Timestamp, parse_patch},
};

pub(super) const SESSION: &str = "/v1/session";
pub(super) const SESSION_TTL: &str = "/v1/session/ttl";

pub(super) type Bearer = (BearerTokenProblems, TooManyInvalidTokens, StoreUnavailable);

// The parameters have no example, because the page `/docs` would send an example with every request
// that a user tries.
pub(super) const IF_MATCH: &str = "A list of entity tags, or `*` for any (RFC 9110). The request is carried \
                        out only if one of them is the current entity tag of the session.";
pub(super) const IF_NONE_MATCH: &str = "A list of entity tags, or `*` for any (RFC 9110). The request is \
                             carried out only if none of them is the current entity tag of the \
                             session.";

const ATTRIBUTES: &str = "`true`: the response also contains the attributes of the cookies that the \
                          site has set, and all other cookies of the same names. Not possible if \
                          the operator has set `hide_cookies`.";

/// Returns `true` if the query of a request contains `attributes=true`, which requests the
/// attributes of the cookies. Other parameters are ignored. `are_hidden` is the setting
/// `hide_cookies`.
///
/// # Errors
/// Fails if the parameter is repeated or malformed, or if it is `true` and `are_hidden` is set.
fn requests_attributes(query: &str, are_hidden: bool) -> Result<bool, ApiError> {
    let mut values =
        form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "attributes");
    let value = values.next().map(|(_, value)| value);
    match (value.as_deref(), values.next()) {
        (None | Some("false"), None) => Ok(false),
        (Some("true"), None) if are_hidden => {
            let detail = "attributes=true is not possible, because this service hides the values of \
                          cookies (hide_cookies)";
            Err(ApiError::InvalidRequest(detail.to_owned()))
        }
        (Some("true"), None) => Ok(true),
        _ => {
            let detail = "The parameter attributes must be true or false";
            Err(ApiError::InvalidRequest(detail.to_owned()))
        }
    }
}

/// Answers `GET /v1/session` with the session. The access touches the session (renews its TTL) even
/// if a precondition fails.
#[utoipa::path(
    get,
    path = SESSION,
    tag = "Session",
    operation_id = "getSession",
    summary = "Get the session",
    description = "The access restarts the idle timeout.",
    params(
        ("attributes" = inline(Option<AttributesRequested>), Query, nullable = false, description = ATTRIBUTES),
        ("If-Match" = inline(Option<EntityTags>), Header, nullable = false, description = IF_MATCH),
        ("If-None-Match" = inline(Option<EntityTags>), Header, nullable = false, description = IF_NONE_MATCH),
    ),
    responses(
        (
            status = 200,
            description = "The session.",
            headers(("ETag")),
            body = SessionBody<'_>,
            example = json!({
                "session_id": SESSION_ID,
                "cookies": {"SESSIONID": "a1b2c3"},
                "base_url": BASE_URL,
                "created_at": CREATED_AT,
                "expires_at": EXPIRES_AT,
                "subject": SUBJECT,
                "label": LABEL,
            }),
        ),
        (
            status = 304,
            description = "The session has not changed: the client has its current state.",
            headers(("ETag")),
        ),
        Problems<(Bearer, Preconditioned)>,
    ),
    security(("session_token" = [])),
)]
pub(super) async fn show(
    request: HttpRequest,
    current: CurrentSession,
    settings: Data<ApiSettings>,
) -> Result<HttpResponse, ApiError> {
    let is_hidden = settings.hide_cookies;
    let has_attributes = requests_attributes(request.query_string(), is_hidden)?;
    let tag = EntityTag::of(current.token(), &current.session);
    // RFC 9110, section 13.2.2 prescribes this order: If-Match before If-None-Match.
    let preconditions = Preconditions::of(request.headers())?;
    if !preconditions.allows(tag) {
        return Err(ApiError::PreconditionFailed);
    }
    // The entity tag does not cover the attributes of cookies. The client may have other attributes
    // with the same tag, so the response is complete.
    let response = if preconditions.client_has(tag) && !has_attributes {
        HttpResponse::NotModified()
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish()
    } else {
        let body = SessionBody::new(current.session_id(), &current);
        let body = body.with_hidden_cookies(is_hidden);
        body.with_attributes(has_attributes).response()
    };
    Ok(with_etag(response, tag))
}

/// Answers `PATCH /v1/session`: changes the cookies and the base URL of the session (RFC 5789, RFC
/// 7396). The access touches the session (renews its TTL).
#[utoipa::path(
    patch,
    path = SESSION,
    tag = "Session",
    operation_id = "updateSession",
    summary = "Change the session",
    description = "A JSON Merge Patch (RFC 7396), as `application/merge-patch+json` or \
                   `application/json`. Members that the patch does not contain are kept, and \
                   concurrent changes of other clients are not lost. The access restarts the idle \
                   timeout.",
    params(
        ("If-Match" = inline(Option<EntityTags>), Header, nullable = false, description = IF_MATCH),
        ("If-None-Match" = inline(Option<EntityTags>), Header, nullable = false, description = IF_NONE_MATCH),
    ),
    request_body(content(
        (
            SessionPatchBody = "application/merge-patch+json",
            example = json!({"cookies": {"SESSIONID": "d4e5f6", "lang": null}}),
        ),
        (
            SessionPatchBody = "application/json",
            example = json!({"cookies": {"SESSIONID": "d4e5f6", "lang": null}}),
        ),
    )),
    responses(
        (
            status = 200,
            description = "The session after the change.",
            headers(("ETag")),
            body = SessionBody<'_>,
            example = json!({
                "session_id": SESSION_ID,
                "cookies": {"SESSIONID": "d4e5f6"},
                "base_url": BASE_URL,
                "created_at": CREATED_AT,
                "expires_at": EXPIRES_AT,
                "subject": SUBJECT,
                "label": LABEL,
            }),
        ),
        Problems<(Bearer, MergePatchBody, Preconditioned, InvalidSession, StoreFull)>,
    ),
    security(("session_token" = [])),
)]
pub(super) async fn update<R: SessionRepository>(
    request: HttpRequest,
    token: BearerToken,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let BearerToken(token) = token;
    // The session is loaded first, so that the service does not wait for the body of a client
    // without a valid token.
    let loaded = Deadline::bound(&request, sessions.load_for_update(&token)).await?;
    let caller = Credential::Session(SessionId::of(&token));
    let body = read_merge_patch(&request, payload, &settings, caller).await?;
    let patch = parse_patch(&body, &settings.allowed_base_hosts)?;
    if settings.hide_cookies {
        check_origin(&patch, loaded.base_url())?;
    }
    let preconditions = Preconditions::of(request.headers())?;
    let update = sessions.update_loaded(&token, loaded, &patch, |tag| {
        preconditions.allows_change(tag)
    });
    let active = Deadline::bound(&request, update).await?;
    let body = SessionBody::new(SessionId::of(&token), &active);
    let response = body.with_hidden_cookies(settings.hide_cookies).response();
    Ok(with_etag(response, EntityTag::of(&token, &active.session)))
}

/// Checks that a patch keeps the origin of the base URL. Otherwise, with hidden cookies, a client
/// could make the gateway send the cookies to a host that the client controls.
fn check_origin(patch: &SessionPatch, base_url: &BaseUrl) -> Result<(), ApiError> {
    let origin = |url: &BaseUrl| Site::of_url(url.as_str()).ok();
    match patch.base_url() {
        Some(new) if new != base_url && origin(new) != origin(base_url) => {
            let detail = "must have the scheme, host and port of the present base URL, because this \
                          service hides the values of cookies (hide_cookies)";
            Err(ApiError::InvalidSession(vec![InvalidMember {
                pointer: "/base_url".to_owned(),
                detail: detail.to_owned(),
            }]))
        }
        _ => Ok(()),
    }
}

/// Answers `DELETE /v1/session`: ends the session of the bearer token (logout).
#[utoipa::path(
    delete,
    path = SESSION,
    tag = "Session",
    operation_id = "deleteSession",
    summary = "End the session",
    description = "After the response, the token is invalid on every instance. A second call with \
                   the same token is answered with 401 `invalid_token`, like any other call with \
                   a token that is not valid.",
    responses((status = 204, description = "The session has ended."), Problems<Bearer>),
    security(("session_token" = [])),
)]
pub(super) async fn delete<R: SessionRepository>(
    request: HttpRequest,
    token: BearerToken,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let delete = async move { sessions.delete(&token.0).await };
    if finish(&request, Deadline::of(&request), delete).await? {
        Ok(HttpResponse::NoContent()
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish())
    } else {
        Err(AuthError::InvalidToken.into())
    }
}

/// Answers `GET /v1/session/ttl` with the remaining lifetime of the session. Does not touch the
/// session (does not renew its TTL).
#[utoipa::path(
    get,
    path = SESSION_TTL,
    tag = "Session",
    operation_id = "getSessionTtl",
    summary = "Get the remaining lifetime of the session",
    description = "The request does not restart the idle timeout.",
    responses(
        (
            status = 200,
            description = "The remaining lifetime.",
            body = TtlBody,
            example = json!({"ttl": 1799, "expires_at": EXPIRES_AT}),
        ),
        Problems<Bearer>,
    ),
    security(("session_token" = [])),
)]
pub(super) async fn ttl<R: SessionRepository>(
    token: BearerToken,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let ttl = sessions
        .ttl(&token.0)
        .await?
        .ok_or(AuthError::InvalidToken)?;
    Ok(wire::ok(&TtlBody::from(ttl)))
}

/// Response to `GET /v1/session/ttl`.
#[derive(Serialize, ToSchema)]
pub(crate) struct TtlBody {
    /// Remaining lifetime in seconds, rounded down.
    ttl: u64,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
}

impl From<SessionTtl> for TtlBody {
    fn from(ttl: SessionTtl) -> Self {
        Self {
            ttl: ttl.ttl.as_secs(),
            expires_at: Timestamp(ttl.expires_at),
        }
    }
}
