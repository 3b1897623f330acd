//! Gauges that show the current state of the service, such as the number of open connections. The
//! values of the gauges are set when `/metrics` is requested.

use std::sync::Arc;

use metrics::{Gauge, gauge};
use tee_session_near_cache::NearCache;

use crate::{
    server::drain::Lifecycle, store::health_monitor::HealthMonitor, upstream::gateway::SharedLimits,
};

/// Gauges for the requests in flight, the open connections, the state of the store, and the near
/// cache (copies of sessions in this process). The struct also contains the objects that provide
/// the current values.
pub(crate) struct StateGauges {
    lifecycle: Arc<Lifecycle>,
    monitor: Arc<HealthMonitor>,
    near_cache: Option<(Arc<NearCache>, Gauge)>,
    upstream: Option<(SharedLimits, Gauge)>,
    in_flight: Gauge,
    connections: Gauge,
    store_up: Gauge,
    store_misconfigured: Gauge,
}

impl StateGauges {
    /// Registers the gauges with the current metrics recorder, and sets `tee_session_build_info`.
    pub(crate) fn new(
        lifecycle: Arc<Lifecycle>,
        monitor: Arc<HealthMonitor>,
        near_cache: Option<Arc<NearCache>>,
    ) -> Self {
        gauge!(
            "tee_session_build_info",
            "version" => env!("CARGO_PKG_VERSION"),
            "commit" => env!("TEE_SESSION_COMMIT"),
            "rustc" => env!("TEE_SESSION_RUSTC"),
        )
        .set(1.0);
        Self {
            lifecycle,
            monitor,
            near_cache: near_cache.map(|cache| (cache, gauge!("tee_session_near_cache_serving"))),
            upstream: None,
            in_flight: gauge!("tee_session_http_requests_in_flight"),
            connections: gauge!("tee_session_http_connections"),
            store_up: gauge!("tee_session_store_up"),
            store_misconfigured: gauge!("tee_session_store_misconfigured"),
        }
    }

    /// Adds the gauge for the number of requests to sites that are in flight or wait for a permit.
    pub(crate) fn with_upstream(mut self, limits: Option<SharedLimits>) -> Self {
        self.upstream = limits.map(|limits| (limits, gauge!("tee_session_upstream_in_flight")));
        self
    }

    pub(crate) fn set(&self) {
        self.in_flight.set(self.lifecycle.in_flight() as f64);
        self.connections.set(self.lifecycle.connections() as f64);
        self.store_up
            .set(f64::from(u8::from(self.monitor.is_store_up())));
        self.store_misconfigured
            .set(f64::from(u8::from(self.monitor.is_misconfigured())));
        if let Some((cache, serving)) = &self.near_cache {
            serving.set(f64::from(u8::from(cache.is_serving())));
        }
        if let Some((limits, in_flight)) = &self.upstream {
            in_flight.set(limits.in_flight() as f64);
        }
    }
}
