//! The table of routes.

mod authorize;
mod docs;
mod health;
mod introspect;
mod revoke;
mod session;
mod session_changes;
mod sessions;
mod sessions_of_others;
mod token_request;

use std::sync::Arc;

use actix_web::{
    HttpResponse, Route, guard,
    web::{self, Data, ServiceConfig},
};
use tee_session_auth_middleware::{BearerAuth, InvalidTokenLimiter, LimitInvalidTokens};
use tee_session_domain::{SessionManager, SessionRepository};
use tee_session_near_cache::NearCachedRepository;

pub(crate) use self::health::{HealthBody, ProbeBody};
use crate::{
    AllowedOrigins, oauth_error::OAuthError, observed_repository::ObservedRepository,
    problem::ApiError,
};

pub(crate) const SESSIONS: &str = "/v1/sessions";
pub(crate) const SESSION_BY_ID: &str = "/v1/sessions/{session_id}";
pub(crate) const SESSION: &str = "/v1/session";
pub(crate) const SESSION_TTL: &str = "/v1/session/ttl";
pub(crate) const SESSION_ROTATE: &str = "/v1/session/rotate";
pub(crate) const AUTHORIZE: &str = "/v1/authorize";
pub(crate) const INTROSPECT: &str = "/v1/introspect";
pub(crate) const REVOKE: &str = "/v1/revoke";
pub(crate) const HEALTH: &str = "/health";
pub(crate) const HEALTH_LIVE: &str = "/health/live";
pub(crate) const HEALTH_READY: &str = "/health/ready";
pub(crate) const OPENAPI: &str = "/openapi.json";
pub(crate) const DOCS: &str = "/docs";
const BELOW_DOCS: &str = "/docs/{name}";

pub(crate) const PATHS: [&str; 13] = [
    SESSION,
    AUTHORIZE,
    SESSIONS,
    SESSION_BY_ID,
    SESSION_TTL,
    SESSION_ROTATE,
    INTROSPECT,
    REVOKE,
    HEALTH,
    HEALTH_LIVE,
    HEALTH_READY,
    OPENAPI,
    DOCS,
];

/// The route of a path, for logs and metrics: paths of clients' own do not belong there.
pub(crate) fn label(path: &str) -> &'static str {
    let known = PATHS.iter().find(|known| **known == path);
    known.copied().unwrap_or_else(|| {
        let below = |known| path.strip_prefix(known)?.strip_prefix('/');
        if below(SESSIONS).is_some_and(|id| !id.is_empty() && !id.contains('/')) {
            return SESSION_BY_ID;
        }
        let above = [AUTHORIZE, DOCS].into_iter();
        let mut above = above.filter(|known| below(known).is_some());
        above.next().unwrap_or("unmatched")
    })
}

/// Whether clients of a route read errors as OAuth 2.0 names them.
pub(crate) fn speaks_oauth(route: &str) -> bool {
    matches!(route, INTROSPECT | REVOKE)
}

/// The session manager as handlers see it.
pub(crate) type Sessions<R> = Data<SessionManager<NearCachedRepository<ObservedRepository<R>>>>;

/// Every path of the API. `HEAD` is answered as `GET`. Pages of these origins may use it, but for
/// what only gateways ask.
pub(crate) fn configure<R: SessionRepository>(
    sessions: Sessions<R>,
    limiter: Option<Arc<InvalidTokenLimiter>>,
    origins: &AllowedOrigins,
) -> impl FnOnce(&mut ServiceConfig) {
    move |api| {
        // A gateway would take the answer to a browser's preflight for a yes. And its address says
        // nothing of who guesses tokens: no limit.
        api.service(
            // A scope takes the paths below without a regular expression.
            web::scope(AUTHORIZE)
                .default_service(web::to(authorize::authorize))
                .wrap(BearerAuth::new(sessions.clone())),
        );
        if origins.is_empty() {
            api.configure(for_everybody(sessions, limiter));
        } else {
            let others = web::scope("").configure(for_everybody(sessions, limiter));
            api.service(others.wrap(origins.middleware()));
        }
    }
}

fn for_everybody<R: SessionRepository>(
    sessions: Sessions<R>,
    limiter: Option<Arc<InvalidTokenLimiter>>,
) -> impl FnOnce(&mut ServiceConfig) {
    move |api| {
        let auth = BearerAuth::new(sessions.clone());
        let limit = LimitInvalidTokens::new(sessions.clone(), limiter);
        api.app_data(sessions)
            .service(
                web::resource(SESSION)
                    .route(get().to(session::show).wrap(auth))
                    .route(web::patch().to(session_changes::update::<R>))
                    .route(web::delete().to(session::delete::<R>))
                    .default_service(not_allowed("GET, HEAD, PATCH, DELETE"))
                    .wrap(limit.clone()),
            )
            .service(
                web::resource(SESSIONS)
                    .route(web::post().to(sessions::create::<R>))
                    .route(get().to(sessions_of_others::list::<R>))
                    .route(web::delete().to(sessions_of_others::revoke_all::<R>))
                    .default_service(not_allowed("GET, HEAD, POST, DELETE")),
            )
            .service(
                web::resource(SESSION_TTL)
                    .route(get().to(session::ttl::<R>))
                    .default_service(not_allowed("GET, HEAD"))
                    .wrap(limit.clone()),
            )
            .service(
                web::resource(SESSION_ROTATE)
                    .route(web::post().to(session_changes::rotate::<R>))
                    .default_service(not_allowed("POST"))
                    .wrap(limit),
            )
            .service(
                web::resource(INTROSPECT)
                    .route(web::post().to(introspect::introspect::<R>))
                    .default_service(post_only()),
            )
            .service(
                web::resource(REVOKE)
                    .route(web::post().to(revoke::revoke::<R>))
                    .default_service(post_only()),
            )
            .service(
                web::resource(HEALTH)
                    .route(get().to(health::health))
                    .default_service(not_allowed("GET, HEAD")),
            )
            .service(
                web::resource(HEALTH_LIVE)
                    .route(get().to(health::live))
                    .default_service(not_allowed("GET, HEAD")),
            )
            .service(
                web::resource(HEALTH_READY)
                    .route(get().to(health::ready))
                    .default_service(not_allowed("GET, HEAD")),
            )
            .service(
                web::resource(OPENAPI)
                    .route(get().to(docs::description))
                    .default_service(not_allowed("GET, HEAD")),
            )
            .service(
                web::resource(DOCS)
                    .route(get().to(docs::page))
                    .default_service(not_allowed("GET, HEAD")),
            )
            // Last: paths with parameters are regular expressions, which every request would be
            // matched against that is served by a later route.
            .service(
                web::resource(SESSION_BY_ID)
                    .route(web::delete().to(sessions_of_others::revoke::<R>))
                    .default_service(not_allowed("DELETE")),
            )
            .service(
                web::resource(BELOW_DOCS)
                    .route(get().to(docs::part))
                    .default_service(not_allowed("GET, HEAD")),
            )
            .default_service(web::to(not_found));
    }
}

fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn not_allowed(allow: &'static str) -> Route {
    web::to(
        move || async move { Err::<HttpResponse, ApiError>(ApiError::MethodNotAllowed { allow }) },
    )
}

/// [`not_allowed`] as OAuth 2.0 clients read it.
fn post_only() -> Route {
    web::to(async || {
        let error = ApiError::MethodNotAllowed { allow: "POST" };
        Err::<HttpResponse, _>(OAuthError::from(error))
    })
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound)
}
