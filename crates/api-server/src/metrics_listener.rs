//! `/metrics`, on a listener of its own.

use std::{io, net::SocketAddr, sync::OnceLock, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, dev::Server, http::header, web};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of the buckets of all durations, in seconds.
const BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// How often what was recorded is folded into the buckets, so that memory stays bounded
/// although nobody scrapes: until then each request takes sixteen bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The recorder is one for the process.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts counting and binds the listener; returns it with its address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(Server, SocketAddr)> {
    let handle = recorder()?;
    let upkeep = handle.clone();
    actix_web::rt::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            upkeep.run_upkeep();
        }
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(handle.clone()))
            .service(web::resource("/metrics").route(web::get().to(render)))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(address)?;
    let address = server.addrs().first().copied().unwrap_or(address);
    Ok((server.run(), address))
}

async fn render(handle: web::Data<PrometheusHandle>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        ))
        .body(handle.render())
}

fn recorder() -> io::Result<PrometheusHandle> {
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let durations = Matcher::Suffix("_duration_seconds".to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)
        .map_err(io::Error::other)?
        .build_recorder();
    let handle = recorder.handle();
    // Another application of this process may have been first: then its recorder counts.
    match metrics::set_global_recorder(recorder) {
        Ok(()) => {
            describe();
            Ok(HANDLE.get_or_init(|| handle).clone())
        }
        Err(error) => HANDLE
            .get()
            .cloned()
            .ok_or_else(|| io::Error::other(error.to_string())),
    }
}

fn describe() {
    describe_histogram!(
        "tee_session_http_request_duration_seconds",
        Unit::Seconds,
        "Time from a request's head to its answer, by method, route and status"
    );
    describe_counter!(
        "tee_session_bearer_resolutions_total",
        "Requests that need a bearer token, by outcome: resolved, or the code of the problem"
    );
    describe_counter!(
        "tee_session_store_commands_total",
        "Calls of the session repository, by operation and outcome"
    );
    describe_counter!(
        "tee_session_connection_failures_total",
        "Connections of clients that failed, by kind: tls_handshake, unreadable_request, broken"
    );
    describe_counter!(
        "tee_session_requests_shed_total",
        "Requests turned away because max_in_flight others were being served"
    );
    describe_counter!(
        "tee_session_panics_total",
        "Panics: bugs of the service, each logged with its place"
    );
    describe_counter!(
        "tee_session_near_cache_lookups_total",
        "Look-ups of the near cache, by outcome: hit, miss, joined, bypassed"
    );
    describe_counter!(
        "tee_session_near_cache_changes_total",
        "Changes of session records that the store told"
    );
    describe_counter!(
        "tee_session_near_cache_flushes_total",
        "How often all copies were dropped because changes may have gone untold"
    );
    describe_gauge!(
        "tee_session_near_cache_entries",
        "Sessions in the near cache, counted every few seconds"
    );
    describe_histogram!(
        "tee_session_store_command_duration_seconds",
        Unit::Seconds,
        "Time of a call of the session repository, by operation and outcome"
    );
}
