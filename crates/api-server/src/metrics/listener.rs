//! HTTP listener for `/metrics`, separate from the listener of the API.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::header,
    web::{self, Data},
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{metrics::gauges::StateGauges, request::proxy_signs::names_loopback};

/// Interval at which recorded durations are added to the buckets of their histograms.
///
/// A recorded duration takes 16 bytes of memory until it is added to a bucket. The interval limits
/// this memory even if `/metrics` is never requested.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Body of the 403 response if the listener has a loopback address, but the `Host` header of a
/// request names another host.
const FOREIGN_HOST: &str = "The Host header must name a loopback address, such as localhost, \
                            because metrics_host is a loopback address\n";

/// If `true`, the listener has a loopback address.
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
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(recorded.clone()))
            .app_data(Data::from(Arc::clone(&state)))
            .app_data(Data::new(IsLocal(address.ip().is_loopback())))
            .service(web::resource("/metrics").route(web::get().to(render)))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(address)?;
    let address = server.addrs().first().copied().unwrap_or(address);
    Ok((server.run(), address))
}

async fn render(
    request: HttpRequest,
    is_local: Data<IsLocal>,
    recorded: Data<PrometheusHandle>,
    state: Data<StateGauges>,
) -> HttpResponse {
    // A web page could otherwise read the metrics of the machine on which it is shown, by letting
    // the name of its own host resolve to a loopback address (DNS rebinding).
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
