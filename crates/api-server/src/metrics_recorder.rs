//! Where everything is counted: what each metric means, and which ones there are from the start.

use std::{io, sync::OnceLock};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tee_session_domain::{EndReason, SessionEvent};

use crate::session_events;

/// Bounds of the buckets of all durations, in seconds.
const BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// Those that are there from the start, and what they count.
const COUNTERS: [(&str, &str); 6] = [
    (
        "tee_session_requests_shed_total",
        "Requests turned away because max_in_flight others were being served",
    ),
    (
        "tee_session_panics_total",
        "Panics: bugs of the service, each logged with its place",
    ),
    (
        "tee_session_corrupt_records_total",
        "Records found to be no session, each time that one was asked for",
    ),
    (
        "tee_session_sessions_created_total",
        "Sessions that were created",
    ),
    (
        "tee_session_sessions_rotated_total",
        "Sessions that got a new token",
    ),
    (
        "tee_session_redis_connect_failures_total",
        "Attempts to connect to Redis that failed",
    ),
];

/// Those that have labels, or belong to a part that need not be there.
const MORE_COUNTERS: [(&str, &str); 9] = [
    (
        "tee_session_bearer_resolutions_total",
        "Requests that need a bearer token, by outcome: resolved, or the code of the problem",
    ),
    (
        "tee_session_store_commands_total",
        "Calls of the session repository, by operation and outcome",
    ),
    (
        "tee_session_connection_failures_total",
        "Connections of clients that failed, by kind: tls_handshake, unreadable_request, broken",
    ),
    (
        "tee_session_sessions_ended_total",
        "Sessions that ended before they idled out, by reason: deleted, revoked, evicted, expired",
    ),
    (
        "tee_session_redis_reconnects_total",
        "Connections to Redis that were lost and are made anew, by the reason of the loss",
    ),
    (
        "tee_session_trace_spans_total",
        "Spans of traces by outcome: exported, or failed when the collector did not take them",
    ),
    (
        "tee_session_near_cache_lookups_total",
        "Look-ups of the near cache, by outcome: hit, miss, joined, bypassed",
    ),
    (
        "tee_session_near_cache_changes_total",
        "Changes of session records that the store told",
    ),
    (
        "tee_session_near_cache_flushes_total",
        "How often all copies were dropped because changes may have gone untold",
    ),
];

const GAUGES: [(&str, &str); 8] = [
    (
        "tee_session_build_info",
        "Always 1; version, commit and rustc say what was built",
    ),
    (
        "tee_session_http_requests_in_flight",
        "Requests that are being served",
    ),
    (
        "tee_session_http_connections",
        "Connections of clients that are open",
    ),
    (
        "tee_session_store_up",
        "1 while every worker sees the store serve, 0 otherwise",
    ),
    (
        "tee_session_redis_connections",
        "Connections to Redis that are up",
    ),
    (
        "tee_session_redis_breakers_open",
        "Connections to Redis whose commands are held back because it answers none",
    ),
    (
        "tee_session_near_cache_serving",
        "1 while copies are served, 0 while the store does not tell of changes",
    ),
    (
        "tee_session_near_cache_entries",
        "Sessions in the near cache, counted every few seconds",
    ),
];

const DURATIONS: [(&str, &str); 2] = [
    (
        "tee_session_http_request_duration_seconds",
        "Time from a request's head to its answer, by method, route and status",
    ),
    (
        "tee_session_store_command_duration_seconds",
        "Time of a call of the session repository, by operation and outcome",
    ),
];

/// The recorder is one for the process.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Counts from now on. What asked for its metrics before counts nothing.
pub(crate) fn install() -> io::Result<PrometheusHandle> {
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
            start_at_zero();
            Ok(HANDLE.get_or_init(|| handle).clone())
        }
        Err(error) => HANDLE
            .get()
            .cloned()
            .ok_or_else(|| io::Error::other(error.to_string())),
    }
}

fn describe() {
    for (name, meaning) in COUNTERS.into_iter().chain(MORE_COUNTERS) {
        describe_counter!(name, meaning);
    }
    for (name, meaning) in GAUGES {
        describe_gauge!(name, meaning);
    }
    for (name, meaning) in DURATIONS {
        describe_histogram!(name, Unit::Seconds, meaning);
    }
}

/// An alert sees a first event only where there was a zero before it.
fn start_at_zero() {
    for (name, _) in COUNTERS {
        let _ = counter!(name);
    }
    for reason in [
        EndReason::Deleted,
        EndReason::Revoked,
        EndReason::Evicted,
        EndReason::Expired,
    ] {
        let _ = session_events::counter_of(SessionEvent::Ended(reason));
    }
    for kind in ["tls_handshake", "unreadable_request", "broken"] {
        let _ = counter!("tee_session_connection_failures_total", "kind" => kind);
    }
}
