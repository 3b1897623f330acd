//! Admission of a request: the limits that are checked before a request is served.

use actix_web::dev::ServiceRequest;

use crate::{
    problem::ApiError,
    request::{body::overloaded, host, limits},
    routes::{Route, authorize::AUTHORIZE},
    server::connection::Connection,
    upstream::gateway::SharedBounds,
};

/// Admits a request, or returns the error with which it is rejected.
///
/// `is_full` says that as many requests as allowed are being served. Health probes are always
/// admitted, and so are preflights (`is_preflight`): a browser treats any error response to a
/// preflight as a refusal, and hides the response from the page. `bounds` are the limits of
/// requests to sites. They are `None` for other requests.
pub(crate) fn admit(
    request: &ServiceRequest,
    route: &Route,
    is_full: bool,
    is_preflight: bool,
    bounds: Option<&SharedBounds>,
) -> Result<(), ApiError> {
    if !host::is_valid(request.headers()) {
        return Err(ApiError::InvalidHost);
    }
    if is_preflight {
        return Ok(());
    }
    // The connection has a place for health probes only.
    let is_reserved = request
        .conn_data::<Connection>()
        .is_some_and(|connection| connection.place().is_reserved());
    if let Some(bounds) = bounds {
        return admit_to_site(request, is_reserved, bounds).map_err(ApiError::not_sent);
    }
    let is_probe = request.path().starts_with("/health");
    if (is_full || is_reserved) && !is_probe {
        return Err(overloaded());
    }
    // The head of such a request contains the target and the fields of another request.
    if route.path == AUTHORIZE {
        return Ok(());
    }
    limits::check(request.request())
}

/// Admits a request to a site. Such requests have limits of their own, so that they do not take the
/// places of others.
fn admit_to_site(
    request: &ServiceRequest,
    is_reserved: bool,
    bounds: &SharedBounds,
) -> Result<(), ApiError> {
    if is_reserved {
        return Err(overloaded());
    }
    limits::check(request.request())?;
    bounds.admit(request).map_err(|_| overloaded())
}
