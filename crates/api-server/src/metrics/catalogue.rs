//! Catalogue of all metrics with their descriptions, and installation of the metrics recorder.

use std::{io, sync::OnceLock};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tee_session_domain::{EndReason, SessionEvent};

use crate::{
    metrics::{cookie_merges, ignored_cookies, session_events},
    server::connection_limits::{Limit, Outcome, SHED_CONNECTIONS},
    upstream,
};

/// Upper bounds of the buckets of all duration histograms, in seconds.
const BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// Upper bounds of the buckets of the durations of requests to sites, in seconds.
const BUCKETS_OF_SITES: [f64; 11] = [
    0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0,
];

const UPSTREAM_DURATION: &str = "tee_session_upstream_request_duration_seconds";

/// Type of a metric: counter, gauge or histogram.
#[derive(PartialEq)]
enum Kind {
    Counter,
    /// A counter without labels that is registered with the value 0 when the recorder is installed.
    CounterFromZero,
    Gauge,
    /// A histogram of durations in seconds, such as the durations of requests.
    Duration,
}

/// Type, name and description of each metric. The code that records a metric repeats its name. The
/// table in `docs/metrics.md` is generated from the metrics that the service serves.
const METRICS: &[(Kind, &str, &str)] = &[
    (
        Kind::Duration,
        "tee_session_http_request_duration_seconds",
        "Time from the head of a request to its response, by method, route and status; route is \
         the path template of the API, or unmatched; status is site for answers and faults of sites \
         (upstream gateway)",
    ),
    (
        Kind::Gauge,
        "tee_session_http_requests_in_flight",
        "Requests in flight",
    ),
    (
        Kind::Counter,
        "tee_session_upstream_requests_total",
        "Requests to sites, by site (the entry of allowed_base_hosts; other: the entry was removed; \
         unknown: refused before the session was loaded) and outcome: answered (whatever the status), \
         abandoned (answered after the connection to the client was lost), broken_off (the body of \
         the answer ended early, stalled or was too long), or the code of the problem",
    ),
    (
        Kind::Duration,
        UPSTREAM_DURATION,
        "Time of the parts of a request to a site, by site and phase: connect (name, connection and \
         TLS handshake; only for new connections), head (from sending the request to the head of \
         the answer, or to the timeout)",
    ),
    (
        Kind::Gauge,
        "tee_session_upstream_in_flight",
        "Requests to sites that are under way or wait for a place",
    ),
    (
        Kind::Gauge,
        "tee_session_upstream_connections",
        "Open connections to sites, by site",
    ),
    (
        Kind::Counter,
        "tee_session_upstream_connects_total",
        "Attempts to connect to sites, by site and outcome: connected, name (it cannot be resolved), \
         connection (refused or not reachable), tls (the handshake failed), timeout, not_allowed (an \
         address that may not be reached)",
    ),
    (
        Kind::Counter,
        "tee_session_upstream_sessions_expired_total",
        "Answers of sites that show that the login of a session is over, by site and signal: \
         login_path, status, marker (the settings)",
    ),
    (
        Kind::Counter,
        "tee_session_upstream_cookies_unsaved_total",
        "Answers of sites whose cookies could not be kept at once, by outcome: kept_late (within 5 s), \
         lost, gone (the session had ended or its token was rotated before the answer arrived)",
    ),
    (
        Kind::Counter,
        "tee_session_upstream_body_bytes_total",
        "Bytes of bodies of requests (sent) and answers (received), by site and direction",
    ),
    (
        Kind::Gauge,
        "tee_session_http_connections",
        "Open client connections",
    ),
    (
        Kind::Counter,
        "tee_session_connection_failures_total",
        "Failed client connections, by kind: tls_handshake (for example because of a broken \
         certificate chain), unreadable_request, broken",
    ),
    (
        Kind::Counter,
        SHED_CONNECTIONS,
        "Client connections affected by a limit, by limit (the setting) and outcome: idle_closed \
         (idle connections made room for a new one), health_only (no connection was idle, and the \
         new one gets answers to health probes only), refused (the new connection was closed)",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_requests_shed_total",
        "Requests rejected because max_in_flight other requests were in flight, or too many bodies \
         were still arriving",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_panics_total",
        "Panics, which are bugs of the service; the log contains the location of each",
    ),
    (
        Kind::Counter,
        "tee_session_bearer_resolutions_total",
        "Requests that require a bearer token, by outcome: resolved, or the code of the problem",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_sessions_created_total",
        "Sessions that were created",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_sessions_rotated_total",
        "Sessions that were rotated to a new token",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_wrong_client_credentials_total",
        "Requests with an Authorization header whose credentials match no service client",
    ),
    (
        Kind::Counter,
        "tee_session_sessions_ended_total",
        "Sessions that ended before their idle timeout, by reason: deleted (with their token), \
         revoked (by a client with the scope admin), evicted (the subject was at its session \
         limit), expired (an access found the session past session_max_lifetime), undelivered \
         (just created or rotated, and the client did not get the token)",
    ),
    (
        Kind::Counter,
        "tee_session_cookies_ignored_total",
        "Cookies of new sessions and Set-Cookie lines that were ignored, by reason: syntax (a \
         character that browsers refuse, or bytes that are not UTF-8), domain (Domain does not \
         match the URL, or is a public suffix), insecure (Secure over http, or a Secure cookie \
         would be replaced over http), prefix (__Host- or __Secure- without what these names \
         require), too_large (name and value are too long), full (the session has no room left)",
    ),
    (
        Kind::Counter,
        "tee_session_cookie_merges_total",
        "Merges of Set-Cookie lines into a session, by source (client: POST /v1/session/cookies; \
         gateway: answers of sites) and outcome: merged (a cookie changed), unchanged (nothing was \
         written), refused (a precondition failed, or the URL has another origin), contended \
         (concurrent requests kept changing the session), gone (the session had ended or its token \
         was rotated), failed (the store failed)",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_corrupt_records_total",
        "Reads of corrupt session records",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_corrupt_indexes_total",
        "Requests that failed because the index of a subject is corrupt",
    ),
    (
        Kind::Gauge,
        "tee_session_store_up",
        "1 while the store is available to every worker, 0 otherwise",
    ),
    (
        Kind::Gauge,
        "tee_session_store_misconfigured",
        "1 if the store lacks a permission or a command that the service needs: at the last health check of \
         a worker, or for a request within the last minute; 0 otherwise",
    ),
    (
        Kind::Counter,
        "tee_session_store_commands_total",
        "Calls of the session repository, except calls of the index of subjects and of the records \
         of requests with an `Idempotency-Key`, by operation and outcome: ok, not_found, \
         unavailable, misconfigured, full, corrupt, newer_record, changed, token_taken, \
         out_of_reach (the primary for a new token is unavailable; another token is tried)",
    ),
    (
        Kind::Duration,
        "tee_session_store_command_duration_seconds",
        "Duration of a call of the session repository, by operation and outcome",
    ),
    (
        Kind::Gauge,
        "tee_session_redis_connections",
        "Connections to Redis that are up: one per worker; in a cluster, one per worker and primary",
    ),
    (
        Kind::Counter,
        "tee_session_redis_reconnects_total",
        "Connections to Redis that were lost and are being re-established, by reason: broken, \
         silent (no reply to heartbeats), out_of_step (a reply did not match its request), \
         replaced (Sentinel replaced the primary)",
    ),
    (
        Kind::CounterFromZero,
        "tee_session_redis_connect_failures_total",
        "Failed attempts to connect to Redis",
    ),
    (
        Kind::Gauge,
        "tee_session_redis_breakers_open",
        "Connections to Redis whose circuit breaker is open because Redis does not reply",
    ),
    (
        Kind::Gauge,
        "tee_session_tls_certificate_expiry_timestamp_seconds",
        "Unix time at which the TLS certificate of the listener expires",
    ),
    (
        Kind::Gauge,
        "tee_session_last_reload_successful",
        "1 if the current contents of a file are in use, 0 if they are invalid or cannot be read and \
         the previous ones stay in use, by file (the setting)",
    ),
    (
        Kind::Gauge,
        "tee_session_near_cache_serving",
        "1 while cached copies are served, 0 while the invalidation feed is down",
    ),
    (
        Kind::Counter,
        "tee_session_near_cache_lookups_total",
        "Look-ups of the near cache, by outcome: hit, miss, joined (shared the pending read of \
         another request), bypassed (the invalidation feed is down)",
    ),
    (
        Kind::Counter,
        "tee_session_near_cache_changes_total",
        "Changes of session records that the invalidation feed of the store reported",
    ),
    (
        Kind::Counter,
        "tee_session_near_cache_flushes_total",
        "Number of times that all cached copies were dropped because changes may have been missed",
    ),
    (
        Kind::Gauge,
        "tee_session_near_cache_entries",
        "Sessions in the near cache, counted every few seconds",
    ),
    (
        Kind::Counter,
        "tee_session_trace_spans_total",
        "Trace spans, by outcome: exported, or failed if the collector did not accept them; spans \
         that were dropped because the queue was full are not counted",
    ),
    (
        Kind::Gauge,
        "tee_session_build_info",
        "Always 1; the labels version, commit and rustc identify the build; commit is the value \
         of TEE_SESSION_COMMIT during the build, or unknown",
    ),
];

/// Handle of the metrics recorder that this crate installed. The whole process shares one recorder.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the metrics recorder of the process, and returns its handle. If this crate has already
/// installed a recorder, returns the handle of that recorder. Metrics that were registered before
/// the installation are not recorded.
///
/// Fails if other code in the process has installed a recorder.
pub(crate) fn install() -> io::Result<PrometheusHandle> {
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let durations = Matcher::Suffix("_duration_seconds".to_owned());
    let of_sites = Matcher::Full(UPSTREAM_DURATION.to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(of_sites, &BUCKETS_OF_SITES))
        .map_err(io::Error::other)?
        .build_recorder();
    let handle = recorder.handle();
    // A concurrent call of `install` may have installed a recorder first. In that case, the handle
    // of that recorder is returned.
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
    for (kind, name, description) in METRICS {
        match kind {
            Kind::Counter | Kind::CounterFromZero => describe_counter!(*name, *description),
            Kind::Gauge => describe_gauge!(*name, *description),
            Kind::Duration => describe_histogram!(*name, Unit::Seconds, *description),
        }
    }
    metrics_process::Collector::default().describe();
}

/// Registers counters with the value 0. Without this registration, an alert would not notice the
/// first event, because Prometheus computes an increase only from an existing value.
fn start_at_zero() {
    for (kind, name, _) in METRICS {
        if *kind == Kind::CounterFromZero {
            let _ = counter!(*name);
        }
    }
    for reason in [
        EndReason::Deleted,
        EndReason::Revoked,
        EndReason::Evicted,
        EndReason::Expired,
        EndReason::Undelivered,
    ] {
        let _ = session_events::counter_of(SessionEvent::Ended(reason));
    }
    for limit in Limit::LABELS {
        for outcome in Outcome::ALL {
            let _ = counter!(SHED_CONNECTIONS, "limit" => limit, "outcome" => outcome.label());
        }
    }
    cookie_merges::start_at_zero();
    ignored_cookies::start_at_zero();
    upstream::metrics::start_at_zero();
    for kind in ["tls_handshake", "unreadable_request", "broken"] {
        let _ = counter!("tee_session_connection_failures_total", "kind" => kind);
    }
}
