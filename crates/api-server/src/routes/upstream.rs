//! `/v1/upstream`: requests to the site of the session.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Payload},
};
use tee_session_auth_middleware::BearerToken;
use tee_session_domain::{ActiveSession, SessionError, SessionId, SessionRepository, SessionToken};
use tee_session_upstream::{Place, Target};
use tokio::time::Instant;

use crate::{
    openapi::problems::{
        BearerToken as BearerTokenProblems, Problems, StoreUnavailable, TooManyInvalidTokens,
        Upstream,
    },
    problem::ApiError,
    request::{
        bodies_under_way::Credential,
        body::read_any,
        deadline::{Deadline, abort_at},
    },
    settings::ApiSettings,
    store::sessions::Sessions,
    upstream::{
        Gateway,
        exchange::{Exchange, RequestCookie},
        is_websocket,
        metrics::SiteLabel,
    },
};

/// Path prefix of requests to the site of a session.
pub(crate) const PREFIX: &str = "/v1/upstream";

/// Path of the operation in the OpenAPI description, in logs and in metrics.
pub(crate) const UPSTREAM: &str = "/v1/upstream/{path}";

/// HTTP methods that the gateway passes on, as the value of the `Allow` header field.
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Maximum age of the loaded session when its cookies are sent to the site. If the session was
/// loaded earlier, for example because the request body arrived slowly, it is loaded again. Another
/// instance may have merged cookies in the meantime.
const MAX_AGE: Duration = Duration::from_millis(20);

/// Sends a request to the site of the session, with the cookies of the session, and returns the
/// answer of the site to the client. The access touches the session (renews its TTL).
// The answer of the site is described as 200, because generators of clients, such as the one for
// Python, skip the response `default`.
// OpenAPI cannot express "every method", and a description of each would be one of many copies.
#[utoipa::path(
    get,
    path = UPSTREAM,
    tag = "Upstream",
    operation_id = "callSite",
    summary = "Send a request to the site of the session",
    description = "Served only if the operator has switched the gateway on (`upstream_gateway`); \
                   otherwise the answer is 404. The request is sent to the origin of the session's \
                   base URL, with this path and query, octet for octet, and with the session's \
                   cookies. Cookies that the site sets are kept in the session. GET, HEAD, POST, \
                   PUT, PATCH, DELETE and OPTIONS are passed on, with a body of any type. An answer \
                   of the site has the header field `Via`; an answer without it is a problem of this \
                   service, whose member `outcome` says if the request may have reached the site. \
                   Nothing that was sent is sent again.",
    params(("path" = String, Path, description = "Path on the site. It may contain slashes.")),
    responses(
        (
            status = 200,
            description = "The answer of the site, with any status and content type, without its \
                           cookies.",
            headers(
                ("Via" = String, description = "Contains `1.1 tee-session`."),
                (
                    "X-Upstream-Location" = String,
                    description = "A redirect to another site, which no client follows by itself."
                ),
                (
                    "X-Upstream-Cookies" = String,
                    description = "`unsaved`: the cookies of this answer were not kept, because the \
                                   store failed, the session has ended or its token was rotated."
                ),
            ),
        ),
        Problems<(BearerTokenProblems, TooManyInvalidTokens, StoreUnavailable, Upstream)>,
    ),
    security(("session_token" = [])),
)]
pub(super) async fn call<R: SessionRepository>(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
    settings: Data<ApiSettings>,
    sessions: Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    let answer = answer(&request, payload, &gateway, &settings, &sessions);
    answer.await.map_err(ApiError::not_sent)
}

async fn answer<R: SessionRepository>(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Data<Gateway>,
    settings: &Data<ApiSettings>,
    sessions: &Sessions<R>,
) -> Result<HttpResponse, ApiError> {
    if settings.upstream.is_none() {
        return Err(ApiError::NotFound);
    }
    if !ALLOW
        .split(", ")
        .any(|method| method == request.method().as_str())
    {
        return Err(ApiError::MethodNotAllowed { allow: ALLOW });
    }
    // The query belongs to the site, so it is not searched for tokens.
    let BearerToken(token) = BearerToken::from_headers(request.headers())?;
    // The watch begins before the session is loaded. It detects an exchange that changes the
    // cookies after the load, and ends before this request asks for a place.
    let watch = gateway.watch(SessionId::of(&token));
    let active = Deadline::bound(request, newest(sessions, &token, settings)).await?;
    let loaded = Instant::now();
    let label = SiteLabel::of(&active.session.base_url, &settings.allowed_base_hosts);
    let prepared = async {
        let mut exchange = Exchange {
            site: gateway.site_of(&active.session.base_url, settings)?,
            label: label.clone(),
            target: target_of(request)?,
            token,
            active,
            body: Bytes::new(),
        };
        let place = place(&mut exchange, request, payload, gateway, settings, sessions);
        let (mut cookie, place) = place.await?;
        if watch.has_changed() || place.has_waited() || loaded.elapsed() > MAX_AGE {
            reload(&mut exchange, gateway, settings, sessions).await?;
            cookie = exchange.cookie(sessions)?;
        }
        Ok((exchange, cookie, place))
    };
    let (exchange, cookie, place) = prepared.await.inspect_err(|error: &ApiError| {
        label.count_problem(error.problem().code().name());
    })?;
    exchange
        .run(request, cookie, gateway, sessions, settings, place)
        .await
}

/// Loads the session from the store, with the cookies of its last merge on any instance. A copy in
/// the near cache may have older cookies.
async fn newest<R: SessionRepository>(
    sessions: &Sessions<R>,
    token: &SessionToken,
    settings: &ApiSettings,
) -> Result<ActiveSession, SessionError> {
    if settings.near_cache.is_some() {
        sessions.get_newest(token).await
    } else {
        // `get` is preferred here, because concurrent calls are combined into one command.
        sessions.get(token).await
    }
}

/// Chooses the cookies, reads the request body, and waits until the limits of the gateway allow the
/// exchange.
async fn place<R: SessionRepository>(
    exchange: &mut Exchange,
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
    settings: &ApiSettings,
    sessions: &Sessions<R>,
) -> Result<(RequestCookie, Place), ApiError> {
    if is_websocket(request) {
        return Err(ApiError::WebSocket);
    }
    // A cookie that cannot be sent is reported before the body is awaited.
    let cookie = exchange.cookie(sessions)?;
    let session_id = SessionId::of(&exchange.token);
    let caller = Credential::Session(session_id);
    let upstream = settings.upstream.as_ref();
    let limit = upstream.map_or(0, |upstream| upstream.max_request_bytes);
    Gateway::release_until_body_is_read(request);
    let body = read_any(request, payload, limit, caller).await;
    exchange.body = body.map_err(|error| match error {
        ApiError::PayloadTooLarge { limit } => ApiError::PayloadForSiteTooLarge { limit },
        error => error,
    })?;
    let place = gateway.place(request, &exchange.site, session_id).await?;
    Ok((cookie, place))
}

/// Loads the session again, because the loaded state may be outdated. The call has a time limit of
/// its own, which does not include the time that the request has waited. Fails if the base URL now
/// belongs to another site.
async fn reload<R: SessionRepository>(
    exchange: &mut Exchange,
    gateway: &Gateway,
    settings: &ApiSettings,
    sessions: &Sessions<R>,
) -> Result<(), ApiError> {
    let answer_by = Instant::now() + settings.answer_timeout;
    exchange.active = abort_at(answer_by, newest(sessions, &exchange.token, settings)).await?;
    let site = gateway.site_of(&exchange.active.session.base_url, settings)?;
    if site != exchange.site {
        // The session now belongs to another site, but the place was reserved for the previous
        // site.
        return Err(SessionError::Contended.into());
    }
    Ok(())
}

/// Returns the request target on the site: the part of the path after the prefix, and the query,
/// byte for byte. Uses the raw target of the request, because the framework decodes the path that
/// it matches.
fn target_of(request: &HttpRequest) -> Result<Target, ApiError> {
    let target = request.uri().path_and_query();
    let target = target.and_then(|target| target.as_str().strip_prefix(PREFIX));
    Ok(Target::parse(target.ok_or(ApiError::NotFound)?)?)
}
