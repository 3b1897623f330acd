//! The table of routes.

mod health;
mod session;
mod sessions;

use std::sync::Arc;

use actix_web::{
    HttpResponse, Route, guard,
    web::{self, Data, ServiceConfig},
};
use tee_session_auth_middleware::{BearerAuth, InvalidTokenLimiter, LimitInvalidTokens};
use tee_session_domain::{SessionManager, SessionRepository};
use tee_session_near_cache::NearCachedRepository;

use crate::{observed_repository::ObservedRepository, problem::ApiError};

pub(crate) const SESSIONS: &str = "/v1/sessions";
pub(crate) const SESSION: &str = "/v1/session";
pub(crate) const SESSION_TTL: &str = "/v1/session/ttl";
const HEALTH: &str = "/health";
const HEALTH_LIVE: &str = "/health/live";
const HEALTH_READY: &str = "/health/ready";

const PATHS: [&str; 6] = [
    SESSION,
    SESSIONS,
    SESSION_TTL,
    HEALTH,
    HEALTH_LIVE,
    HEALTH_READY,
];

/// The route of a path, for logs and metrics: paths of clients' own do not belong there.
pub(crate) fn label(path: &str) -> &'static str {
    let known = PATHS.iter().find(|known| **known == path);
    known.copied().unwrap_or("unmatched")
}

/// The session manager as handlers see it.
pub(crate) type Sessions<R> = Data<SessionManager<NearCachedRepository<ObservedRepository<R>>>>;

/// Every path of the API. `HEAD` is answered as `GET`.
pub(crate) fn configure<R: SessionRepository>(
    sessions: Sessions<R>,
    limiter: Option<Arc<InvalidTokenLimiter>>,
) -> impl FnOnce(&mut ServiceConfig) {
    move |api| {
        let auth = BearerAuth::new(sessions.clone());
        let limit = LimitInvalidTokens::new(sessions.clone(), limiter);
        api.app_data(sessions)
            .service(
                web::resource(SESSIONS)
                    .route(web::post().to(sessions::create::<R>))
                    .default_service(not_allowed("POST")),
            )
            .service(
                web::resource(SESSION)
                    .route(get().to(session::show).wrap(auth))
                    .route(web::delete().to(session::delete::<R>))
                    .default_service(not_allowed("GET, HEAD, DELETE"))
                    .wrap(limit.clone()),
            )
            .service(
                web::resource(SESSION_TTL)
                    .route(get().to(session::ttl::<R>))
                    .default_service(not_allowed("GET, HEAD"))
                    .wrap(limit),
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

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound)
}
