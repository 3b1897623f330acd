//! `/health`, `/health/live` and `/health/ready`, for probes. The responses contain the results of
//! the last health checks of the store. A request to these paths does not access the store.
//! `OPTIONS` is answered like `GET`, because it is the default method of some probes (HAProxy).

use std::sync::Arc;

use actix_web::{HttpResponse, HttpResponseBuilder, http::header::CACHE_CONTROL, web::Data};
use serde::Serialize;
use tee_session_domain::StoreClock;
use utoipa::{ToSchema, openapi::Object};

use crate::{
    openapi::{
        problems::ProbeProblems,
        schemas::{self, CREATED_AT},
    },
    problem::HasOwnBody,
    settings::{ApiSettings, StoreKind},
    store::health_monitor::HealthMonitor,
    wire::Timestamp,
};

pub(super) const HEALTH: &str = "/health";
pub(super) const HEALTH_LIVE: &str = "/health/live";
pub(super) const HEALTH_READY: &str = "/health/ready";

/// Response to `GET /health`.
#[derive(Serialize, ToSchema)]
struct HealthBody {
    #[schema(schema_with = health_status)]
    status: &'static str,
    /// Current time.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// True if the service can use Redis. Always false if sessions are stored in memory.
    redis_connected: bool,
    #[schema(schema_with = store)]
    store: &'static str,
}

fn health_status() -> Object {
    schemas::one_of(&["healthy", "degraded"])
}

fn store() -> Object {
    schemas::one_of(&[StoreKind::Memory, StoreKind::Redis].map(StoreKind::as_str))
}

/// Answers `GET /health` with the health of the service. The HTTP status is always 200.
#[utoipa::path(
    get,
    path = HEALTH,
    tag = "Health",
    operation_id = "getHealth",
    summary = "Get the health of the service",
    responses(
        (
            status = 200,
            description = "The state at the last health check, healthy or degraded.",
            body = HealthBody,
            example = json!({
                "status": "healthy",
                "timestamp": CREATED_AT,
                "redis_connected": true,
                "store": "redis",
            }),
        ),
        ProbeProblems,
    ),
)]
pub(super) async fn health(
    settings: Data<ApiSettings>,
    monitor: Data<Arc<HealthMonitor>>,
) -> HttpResponse {
    let is_store_up = monitor.is_store_up();
    let body = HealthBody {
        status: match settings.store {
            StoreKind::Memory => "healthy",
            StoreKind::Redis if is_store_up => "healthy",
            StoreKind::Redis => "degraded",
        },
        timestamp: Timestamp(StoreClock::from_system().now()),
        redis_connected: settings.store == StoreKind::Redis && is_store_up,
        store: settings.store.as_str(),
    };
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body)
}

/// Response to `GET /health/live` and `GET /health/ready`.
#[derive(Serialize, ToSchema)]
struct ProbeBody {
    #[schema(schema_with = probe_status)]
    status: &'static str,
}

fn probe_status() -> Object {
    schemas::one_of(&[
        "live",
        "ready",
        "starting",
        "draining",
        "store_unavailable",
        STORE_MISCONFIGURED,
    ])
}

/// Answers `GET /health/live` with 200. The response shows that the process handles requests.
#[utoipa::path(
    get,
    path = HEALTH_LIVE,
    tag = "Health",
    operation_id = "getLive",
    summary = "Check whether the process handles requests",
    responses(
        (
            status = 200,
            description = "The process handles requests.",
            body = ProbeBody,
            example = json!({"status": "live"}),
        ),
        ProbeProblems,
    ),
)]
pub(super) async fn live() -> HttpResponse {
    probe(HttpResponse::Ok(), "live")
}

/// Status of an instance whose store lacks a permission or a command that the service needs.
const STORE_MISCONFIGURED: &str = "store_misconfigured";

/// Answers `GET /health/ready` with 200 if requests should be sent to this instance. Answers with
/// 503 during shutdown, and before the store has been available for the first time. If
/// `readiness_requires_store` is set, also answers with 503 while the store is unavailable.
///
/// If the store refuses some requests, because a permission or a command is missing, the status is
/// `store_misconfigured` with 200: the other requests can be served, and no other instance could
/// serve the refused ones.
#[utoipa::path(
    get,
    path = HEALTH_READY,
    tag = "Health",
    operation_id = "getReady",
    summary = "Check whether the instance is ready for requests",
    responses(
        (
            status = 200,
            description = "The instance is ready. If the status is `store_misconfigured`, the store \
                           refuses some requests, because a permission or a command is missing.",
            body = ProbeBody,
            example = json!({"status": "ready"}),
        ),
        (
            status = 503,
            description = "The instance is not ready: it is starting or shutting down, or the \
                           store is unavailable or refuses every session. The response has no \
                           problem details and no `Retry-After`, because it is for probes.",
            body = ProbeBody,
            example = json!({"status": "starting"}),
        ),
        ProbeProblems,
    ),
)]
pub(super) async fn ready(
    settings: Data<ApiSettings>,
    monitor: Data<Arc<HealthMonitor>>,
) -> HttpResponse {
    if monitor.is_draining() {
        probe(HttpResponse::ServiceUnavailable(), "draining")
    } else if !monitor.was_store_up() {
        let status = if monitor.lacks_permissions() {
            STORE_MISCONFIGURED
        } else {
            "starting"
        };
        probe(HttpResponse::ServiceUnavailable(), status)
    } else if settings.readiness_requires_store && !monitor.is_store_up() {
        let status = if monitor.lacks_permissions() {
            STORE_MISCONFIGURED
        } else {
            "store_unavailable"
        };
        probe(HttpResponse::ServiceUnavailable(), status)
    } else if monitor.is_misconfigured() {
        probe(HttpResponse::Ok(), STORE_MISCONFIGURED)
    } else {
        probe(HttpResponse::Ok(), "ready")
    }
}

fn probe(mut response: HttpResponseBuilder, status: &'static str) -> HttpResponse {
    let mut response = response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(ProbeBody { status });
    // Without the mark, a 503 would be replaced by problem details.
    response.extensions_mut().insert(HasOwnBody);
    response
}
