//! `/health`: for probes. Answers come from what was last observed; the store is not asked.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde::Serialize;
use tee_session_domain::StoreClock;
use utoipa::{ToSchema, openapi::Object};

use crate::{
    body::Timestamp,
    health_monitor::HealthMonitor,
    openapi::schemas,
    settings::{ApiSettings, StoreKind},
};

/// The answer to `GET /health`.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthBody {
    #[schema(schema_with = health_status)]
    status: &'static str,
    /// Now.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// Always false with the embedded store.
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

/// `GET /health`: always 200; the body says how things stand.
pub(super) async fn health(
    settings: Data<ApiSettings>,
    monitor: Data<Arc<HealthMonitor>>,
) -> HttpResponse {
    let serves = monitor.store_serves();
    let body = HealthBody {
        status: match settings.store {
            StoreKind::Memory => "healthy",
            StoreKind::Redis if serves => "healthy",
            StoreKind::Redis => "degraded",
        },
        timestamp: Timestamp(StoreClock::from_system().now()),
        redis_connected: settings.store == StoreKind::Redis && serves,
        store: settings.store.as_str(),
    };
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body)
}

/// The answer to a probe.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProbeBody {
    #[schema(schema_with = probe_status)]
    status: &'static str,
}

fn probe_status() -> Object {
    schemas::one_of(&["live", "ready", "starting", "draining", "store_unavailable"])
}

/// `GET /health/live`: the process serves.
pub(super) async fn live() -> HttpResponse {
    probe(HttpResponse::Ok(), "live")
}

/// `GET /health/ready`: whether requests should be sent here.
pub(super) async fn ready(
    settings: Data<ApiSettings>,
    monitor: Data<Arc<HealthMonitor>>,
) -> HttpResponse {
    if monitor.is_draining() {
        probe(HttpResponse::ServiceUnavailable(), "draining")
    } else if !monitor.store_has_served() {
        probe(HttpResponse::ServiceUnavailable(), "starting")
    } else if settings.readiness_requires_store && !monitor.store_serves() {
        probe(HttpResponse::ServiceUnavailable(), "store_unavailable")
    } else {
        probe(HttpResponse::Ok(), "ready")
    }
}

fn probe(mut response: actix_web::HttpResponseBuilder, status: &'static str) -> HttpResponse {
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(ProbeBody { status })
}
