//! Access log: one line for each request.

use std::{net::IpAddr, time::Instant};

use actix_web::{dev::ServiceRequest, http::StatusCode};
use tee_session_auth_middleware::TrustedProxies;

use crate::telemetry::log_layer::ACCESS_LOG;

/// The parts of an access log line that are known when a request arrives.
///
/// The log adds method, route, request id and service client to every line of a request. Path,
/// query and header fields are not logged, because they may contain secrets.
pub(crate) struct AccessLine {
    client_address: Option<IpAddr>,
    started: Instant,
}

impl AccessLine {
    pub(crate) fn new(
        proxies: &TrustedProxies,
        request: &ServiceRequest,
        started: Instant,
    ) -> Self {
        let peer = request.peer_addr().map(|peer| peer.ip());
        Self {
            client_address: proxies.client_address(peer, request.headers()),
            started,
        }
    }

    /// Logs the line with the status and the duration of the request. The duration ends when the
    /// head of the response is ready. The line has the field `from_site` only if the response
    /// passes on the answer of a site.
    pub(crate) fn log(self, status: StatusCode, from_site: bool) {
        tracing::info!(
            target: ACCESS_LOG,
            status = status.as_u16(),
            duration_ms = self.started.elapsed().as_micros() as f64 / 1_000.0,
            client_address = self.client_address.map(tracing::field::display),
            from_site = from_site.then_some(true),
            "Request served"
        );
    }
}
