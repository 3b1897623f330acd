//! `/metrics`, on a listener of its own.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    http::header,
    web::{self, Data},
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{process_metrics, state_gauges::StateGauges};

/// How often what was recorded is folded into the buckets, so that memory stays bounded
/// although nobody scrapes: until then each request takes sixteen bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Binds the listener; returns it with its address.
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
            .service(web::resource("/metrics").route(web::get().to(render)))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(address)?;
    let address = server.addrs().first().copied().unwrap_or(address);
    Ok((server.run(), address))
}

async fn render(recorded: Data<PrometheusHandle>, state: Data<StateGauges>) -> HttpResponse {
    state.set();
    let mut text = recorded.render();
    process_metrics::append_to(&mut text);
    HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        ))
        .body(text)
}
