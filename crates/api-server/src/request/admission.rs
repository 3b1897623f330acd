//! Admission of a request: the limits that are checked before a request is served.

use actix_web::dev::ServiceRequest;
use tee_session_upstream::UpstreamError;

use crate::{
    problem::ApiError,
    request::{body::overloaded, host, limits},
    routes::{Route, authorize::AUTHORIZE},
    server::connection::Connection,
    upstream::{gateway::SharedLimits, metrics::count_refused},
};

/// Admits a request, or returns the error with which the request is rejected.
///
/// `is_full` is `true` if the limit on requests in flight is reached. Health probes and CORS
/// preflights (`is_preflight`) are admitted even then. If a preflight failed, the browser would
/// report a CORS error, and the page could not read the 503 response. For a request to a site,
/// `exchange_limits` contains the limits that apply instead of the limit on requests in flight. For
/// any other request, `exchange_limits` is `None`.
pub(crate) fn admit(
    request: &ServiceRequest,
    route: &Route,
    is_full: bool,
    is_preflight: bool,
    exchange_limits: Option<&SharedLimits>,
) -> Result<(), ApiError> {
    if !host::is_valid(request.headers()) {
        return Err(ApiError::InvalidHost);
    }
    if is_preflight {
        return Ok(());
    }
    // The connection was accepted above the connection limit, for health probes only.
    let is_reserved = request
        .conn_data::<Connection>()
        .is_some_and(|connection| connection.place().is_reserved());
    if let Some(exchange_limits) = exchange_limits {
        return admit_to_site(request, is_reserved, exchange_limits);
    }
    let is_probe = request.path().starts_with("/health");
    if (is_full || is_reserved) && !is_probe {
        return Err(overloaded());
    }
    // The head of a request to `/v1/authorize` contains the target and the fields of another
    // request, so the limits on the head do not apply.
    if route.path == AUTHORIZE {
        return Ok(());
    }
    limits::check(request.request())
}

/// Admits a request to a site. Such requests have separate limits, so that slow sites cannot use up
/// the limit on all other requests.
fn admit_to_site(
    request: &ServiceRequest,
    is_reserved: bool,
    exchange_limits: &SharedLimits,
) -> Result<(), ApiError> {
    if is_reserved {
        return Err(overloaded());
    }
    limits::check(request.request())?;
    exchange_limits.admit(request).map_err(|busy| {
        count_refused();
        UpstreamError::from(busy).into()
    })
}
