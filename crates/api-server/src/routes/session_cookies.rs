//! `/v1/session/cookies`: cookies that the site has set.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use tee_session_auth_middleware::BearerToken;
use tee_session_domain::{EntityTag, SessionId, SessionRepository};

use super::session::{Bearer, IF_MATCH, IF_NONE_MATCH};
use crate::{
    metrics::{
        cookie_merges::{self, Source},
        ignored_cookies,
    },
    openapi::{
        problems::{
            InvalidSession, JsonBody, Preconditions as Preconditioned, Problems, StoreFull,
        },
        schemas::{BASE_URL, CREATED_AT, EXPIRES_AT, EntityTags, SESSION_ID},
    },
    problem::ApiError,
    request::bodies_under_way::Credential,
    request::body::read_json,
    request::deadline::Deadline,
    request::precondition::{Preconditions, with_etag},
    settings::ApiSettings,
    store::sessions::Sessions,
    wire::{MergeCookies, SessionBody},
};

pub(super) const SESSION_COOKIES: &str = "/v1/session/cookies";

/// Answers `POST /v1/session/cookies`: merges the cookies that the site has set into the session.
/// The access touches the session (renews its TTL).
#[utoipa::path(
    post,
    path = SESSION_COOKIES,
    tag = "Session",
    operation_id = "mergeCookies",
    summary = "Merge cookies that the site has set",
    description = "Merges the `Set-Cookie` lines of an answer of the site into the session, by the \
                   rules of browsers (RFC 6265bis). Restarts the idle timeout.",
    params(
        ("If-Match" = inline(Option<EntityTags>), Header, nullable = false, description = IF_MATCH),
        ("If-None-Match" = inline(Option<EntityTags>), Header, nullable = false, description = IF_NONE_MATCH),
    ),
    request_body(
        content = MergeCookies,
        example = json!({
            "url": "https://golf.example/members/login.php",
            "set_cookie": ["SESSIONID=d4e5f6; Path=/; Secure; HttpOnly"],
            "date": "Thu, 15 Jan 2026 10:30:00 GMT",
            "sent": {"SESSIONID": "a1b2c3"},
        }),
    ),
    responses(
        (
            status = 200,
            description = "The session after the merge.",
            headers(("ETag")),
            body = SessionBody<'_>,
            example = json!({
                "session_id": SESSION_ID,
                "cookies": {"SESSIONID": "d4e5f6"},
                "base_url": BASE_URL,
                "created_at": CREATED_AT,
                "expires_at": EXPIRES_AT,
                "ignored": [],
            }),
        ),
        Problems<(Bearer, JsonBody, Preconditioned, InvalidSession, StoreFull)>,
    ),
    security(("session_token" = [])),
)]
pub(super) async fn merge_cookies<R: SessionRepository>(
    request: HttpRequest,
    token: BearerToken,
    payload: Payload,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let BearerToken(token) = token;
    // The session is loaded first, so that the service does not wait for the body of a client
    // without a valid token.
    let loaded = Deadline::bound(&request, sessions.load_for_merge(&token)).await?;
    let caller = Credential::Session(SessionId::of(&token));
    let body = read_json(&request, payload, &settings, caller).await?;
    let update = MergeCookies::parse(&body)?;
    let preconditions = Preconditions::of(request.headers())?;
    let merge = sessions.merge_loaded(&token, loaded, &update, |tag| {
        preconditions.allows_change(tag)
    });
    let merged = Deadline::bound(&request, merge).await;
    cookie_merges::count(Source::Client, &merged);
    let merged = merged?;
    ignored_cookies::count_lines(&merged.ignored);
    let body = SessionBody::new(SessionId::of(&token), &merged.active);
    let body = body.with_hidden_cookies(settings.hide_cookies);
    let response = body.with_ignored(&merged.ignored).response();
    let tag = EntityTag::of(&token, &merged.active.session);
    Ok(with_etag(response, tag))
}
