//! HTTP listener for `/metrics`, separate from the listener of the API.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse,
    dev::Server,
    guard,
    http::header,
    web::{self, Data},
};
use metrics_exporter_prometheus::PrometheusHandle;

use tee_session_auth_middleware::TrustedProxies;

use crate::{
    metrics::gauges::StateGauges,
    request::proxy_signs::names_loopback,
    server::{bind, connection_limits::ConnectionLimits, drain::Lifecycle, http},
};

/// Interval at which recorded durations are added to the buckets of their histograms.
///
/// A recorded duration takes 16 bytes of memory until it is added to a bucket. The interval limits
/// this memory even if `/metrics` is never requested.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of open connections to the metrics listener. At the limit, the longest-idle
/// connections are closed to make room for new connections.
pub const MAX_METRICS_CONNECTIONS: usize = 16;

/// Number of connections to the metrics listener that are accepted above the limit if no connection
/// is idle.
const RESERVED_CONNECTIONS: usize = 4;

/// Body of the 403 response to a request that names another host in the header `Host`, although the
/// listener has a loopback address.
const FOREIGN_HOST: &str = "The Host header must name a loopback address, such as localhost, \
                            because metrics_host is a loopback address\n";

/// Contains `true` if the metrics listener has a loopback address. Such a listener rejects requests
/// whose `Host` header names another host.
struct IsLocal(bool);

/// Binds the metrics listener to `address`. Returns the server and the bound address.
pub(crate) fn listen(
    address: SocketAddr,
    recorded: PrometheusHandle,
    state: StateGauges,
) -> io::Result<(Server, SocketAddr)> {
    let upkeep = recorded.clone();
    actix_web::rt::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            upkeep.run_upkeep();
        }
    });
    let state = Arc::new(state);
    let limits = ConnectionLimits::new(
        MAX_METRICS_CONNECTIONS,
        None,
        RESERVED_CONNECTIONS,
        TrustedProxies::default(),
    );
    let listener = bind::listen(address, ["metrics_host", "metrics_port"])?;
    let bound = listener.local_addr()?;
    // Connections to this listener do not count as connections to the API.
    let lifecycle = Arc::new(Lifecycle::new());
    let server = http::serve(listener, 1, None, lifecycle, Arc::new(limits), move || {
        let read = web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
        App::new()
            .app_data(Data::new(recorded.clone()))
            .app_data(Data::from(Arc::clone(&state)))
            .app_data(Data::new(IsLocal(address.ip().is_loopback())))
            .service(web::resource("/metrics").route(read.to(render)))
    })?;
    Ok((server, bound))
}

async fn render(
    request: HttpRequest,
    is_local: Data<IsLocal>,
    recorded: Data<PrometheusHandle>,
    state: Data<StateGauges>,
) -> HttpResponse {
    // Otherwise, a web page could read the metrics of the machine of its user: the page would let
    // its own host name resolve to a loopback address (DNS rebinding).
    if is_local.0 && !names_loopback(request.head()) {
        return HttpResponse::Forbidden()
            .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
            .body(FOREIGN_HOST);
    }
    state.set();
    metrics_process::Collector::default().collect();
    HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        ))
        .body(recorded.render())
}
