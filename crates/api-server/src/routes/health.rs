//! `/health`: for probes. Answers come from what was last observed; the store is not asked.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web::Data};
use serde::Serialize;
use tee_session_domain::StoreClock;

use crate::{
    body::Timestamp,
    health_monitor::HealthMonitor,
    settings::{ApiSettings, StoreKind},
};

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    timestamp: Timestamp,
    redis_connected: bool,
    store: &'static str,
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

#[derive(Serialize)]
struct ProbeBody {
    status: &'static str,
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
